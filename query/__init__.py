"""Compare collections, predict membership, measure leakage, record in DuckDB, report. Read flow.py first."""
