"""Checks before the routes: access, connections, limits."""
