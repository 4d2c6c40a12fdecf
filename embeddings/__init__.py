"""An image becomes vectors, one kind for each view. Read types.py first."""
