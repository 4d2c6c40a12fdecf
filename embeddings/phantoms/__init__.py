"""Procedural CT-like slices for the demo, tests and training, so that none of them needs a patient's scan."""
