-- How do each method's predictions compare with the labels? Predictions that had seen the label are left out.
-- parameter: run = latest
SELECT method, true_positives, false_positives, true_negatives, false_negatives, undecided
FROM confusion
WHERE run_id = $run
ORDER BY method;
