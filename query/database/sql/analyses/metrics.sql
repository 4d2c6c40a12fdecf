-- How accurate is each method, with intervals?
-- parameter: run = latest
SELECT method, metric, value, low, high FROM metrics WHERE run_id = $run ORDER BY method, metric;
