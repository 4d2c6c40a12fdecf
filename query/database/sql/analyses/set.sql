-- Was any unlabelled patient used, and at least how many?
-- p_value: of the claim that none was. share_low: with 95% confidence at least this share of the patients was used.
-- parameter: run = latest
SELECT method, p_value, share_low, CAST(round(share_low * patients) AS INTEGER) AS used_low, patients, reference_patients
FROM set_tests
WHERE run_id = $run
ORDER BY method;
