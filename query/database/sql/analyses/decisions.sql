-- Which real images does each method predict as used?
-- parameter: run = latest
SELECT
    d.method, i.name AS real_image, membership(l.used) AS membership, d.used AS decided_used, d.answer, d.value, d.threshold,
    d.p_value, d.q_value, d.probability, d.role
FROM decisions AS d
JOIN images AS i ON i.run_id = d.run_id AND i.image_id = d.image_id
LEFT JOIN labels AS l ON l.run_id = d.run_id AND l.image_id = d.image_id
WHERE d.run_id = $run
ORDER BY d.method, i.image_id;
