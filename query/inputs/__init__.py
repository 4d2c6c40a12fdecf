"""Inputs besides collections: labels, groups (patients), pixels of images."""
