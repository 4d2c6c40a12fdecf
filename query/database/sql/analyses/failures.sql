-- Which images could not be read, and why?
-- parameter: run = latest
SELECT role, path, reason FROM failures WHERE run_id = $run ORDER BY role, path;
