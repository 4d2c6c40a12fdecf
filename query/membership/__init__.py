"""One file for each way to decide whether a real image was used. Read types.py first."""
