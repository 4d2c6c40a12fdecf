-- How do the decisions of each method that did not see the labels compare with them?
-- parameter: run = latest
SELECT method, true_positives, false_positives, true_negatives, false_negatives, undecided
FROM confusion
WHERE run_id = $run
ORDER BY method;
