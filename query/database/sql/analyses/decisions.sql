-- What does each method say of each real image?
-- answer: of the primary method; patient used: the image's patient is called used, by this image or by another.
-- q_value: of the patient. probability_low, probability_high: P(used) at the lowest and at the highest stated prior.
-- parameter: run = latest
SELECT
    d.method, i.name AS real_image, membership(l.used) AS membership, d.used AS decided_used, d.answer, d.value, d.threshold,
    d.p_value, d.q_value, d.probability_low, d.probability_high, d.role
FROM decisions AS d
JOIN images AS i ON i.run_id = d.run_id AND i.image_id = d.image_id
LEFT JOIN labels AS l ON l.run_id = d.run_id AND l.image_id = d.image_id
WHERE d.run_id = $run
ORDER BY d.method, i.image_id;
