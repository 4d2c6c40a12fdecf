"""Runs, images and pairs, read from the copy of the database."""
