"""What stands before the routes: access, connections, limits."""
