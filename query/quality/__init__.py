"""Fidelity: how like real images generated ones are, beside how private they are."""
