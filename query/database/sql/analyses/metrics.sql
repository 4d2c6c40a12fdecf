-- How well does each method do, with its interval?
-- parameter: run = latest
SELECT method, metric, value, low, high FROM metrics WHERE run_id = $run ORDER BY method, metric;
