"""A collection is built: resumed after a kill, brought up to date, committed as a whole."""
