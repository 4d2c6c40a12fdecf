"""Statistics of scores and decisions against known labels, with intervals by group. NumPy only."""
