"""Sharded collections: many collections in one folder, with one fitted transform and one manifest."""
