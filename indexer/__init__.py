"""Vectors become collections that can be searched. Read types.py first."""
