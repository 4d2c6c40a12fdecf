-- Which generated images does the filter withhold, and because of which real image? Highest scores come first.
-- parameter: run = latest
SELECT g.name AS generated_image, d.reason, d.score, d.threshold, r.name AS nearest_used, d.distance, d.view
FROM release_decisions AS d
JOIN images AS g ON g.run_id = d.run_id AND g.image_id = d.image_id
LEFT JOIN images AS r ON r.run_id = d.run_id AND r.image_id = d.nearest_id
WHERE d.run_id = $run AND d.decision = 'withhold'
ORDER BY d.score DESC NULLS LAST, d.image_id;
