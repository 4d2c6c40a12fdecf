"""Collections and real images become evidence, kept in DuckDB. Read store.py first."""
