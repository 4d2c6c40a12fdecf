"""Duplicates within one set of images, leaks between sets that must not share any, and the diversity of a set."""
