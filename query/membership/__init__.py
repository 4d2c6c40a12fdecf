"""Membership inference: a case, methods that score it, calibrated predictions. Read case.py first."""
