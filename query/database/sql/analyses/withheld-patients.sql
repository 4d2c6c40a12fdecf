-- Which patients' images are the withheld generated images nearest to, and how many are they?
-- patient: the group of the nearest used image, or its name without one; empty for images that no view sees. Nearest is not source.
-- parameter: run = latest
SELECT
    coalesce(r."group", r.name) AS patient, count(*) AS generated_images, max(d.score) AS best_score,
    arg_max(g.name, d.score) AS best_generated, arg_max(r.name, d.score) AS best_nearest_used
FROM release_decisions AS d
JOIN images AS g ON g.run_id = d.run_id AND g.image_id = d.image_id
LEFT JOIN images AS r ON r.run_id = d.run_id AND r.image_id = d.nearest_id
WHERE d.run_id = $run AND d.decision = 'withhold'
GROUP BY patient
ORDER BY best_score DESC NULLS LAST, patient;
