"""Runs in one DuckDB file: recorded, asked in SQL, evaluated against labels."""
