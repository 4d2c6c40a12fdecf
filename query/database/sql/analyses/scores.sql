-- How strong is the evidence for each image, by each score?
-- parameter: run = latest
SELECT s.view, s.score, i.role, i.name, membership(l.used) AS membership, s.value, s.p_value, s.q_value
FROM scores AS s
JOIN images AS i ON i.run_id = s.run_id AND i.image_id = s.image_id
LEFT JOIN labels AS l ON l.run_id = s.run_id AND l.image_id = s.image_id
WHERE s.run_id = $run
ORDER BY s.view, s.score, s.value DESC, i.role, i.name;
