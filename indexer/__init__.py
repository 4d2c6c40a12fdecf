"""Vectors become searchable collections. Read types.py first."""
