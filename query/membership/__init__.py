"""Which real images were used: a case, methods that score it, calibrated predictions. Read case.py first."""
