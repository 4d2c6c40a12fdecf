"""Vectors to searchable collections on disk. Read types.py first."""
