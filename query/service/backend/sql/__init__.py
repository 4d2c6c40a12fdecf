"""SQL queries, each in its own process, and named analyses."""
