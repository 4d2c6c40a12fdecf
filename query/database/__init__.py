"""Record runs in one DuckDB file, query them in SQL, evaluate them against labels."""
