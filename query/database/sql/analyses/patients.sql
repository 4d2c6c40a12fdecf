-- Which patients does the primary method call used?
-- patient: the group of its images, or the name of an image without one; nearest_image: of the patient, to the generated images.
-- parameter: run = latest
SELECT
    p.method, p.patient, p.decision, p.p_value, p.q_value, p.images, i.name AS nearest_image, n.generated_image,
    membership(l.used) AS membership, p.role
FROM patient_decisions AS p
JOIN images AS i ON i.run_id = p.run_id AND i.image_id = p.image_id
LEFT JOIN nearest_generated AS n ON n.run_id = p.run_id AND n.real_image = i.name AND n.view = 'combined'
LEFT JOIN labels AS l ON l.run_id = p.run_id AND l.image_id = p.image_id
WHERE p.run_id = $run
ORDER BY p.method, p.p_value, p.patient;
