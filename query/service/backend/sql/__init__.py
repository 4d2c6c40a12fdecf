"""SQL queries of people, each in a process of its own, and named analyses."""
