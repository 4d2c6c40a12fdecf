-- Which files could not be read, which were left out by their names, and why?
-- parameter: run = latest
SELECT role, path, reason, left_out FROM failures WHERE run_id = $run ORDER BY role, left_out NULLS FIRST, path;
