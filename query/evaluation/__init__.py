"""Statistics of scores and predictions against labels, with intervals by group. NumPy and SciPy only."""
