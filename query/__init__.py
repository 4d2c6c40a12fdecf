"""Collections and real images become evidence, recorded in DuckDB and reported. Read flow.py first."""
