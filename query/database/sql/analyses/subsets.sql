-- From which subset of the real images did each generated image come?
-- answer: undecided below the least probability asked for. calibrated: on labels; else the probability is an uncalibrated share.
-- without_best: the most probable subset without the patient of the best real image.
-- parameter: run = latest
SELECT g.name AS generated_image, d.answer, d.subset, d.probability, d.calibrated, d.label, d.without_best, r.name AS best_real_image
FROM subset_decisions AS d
JOIN images AS g ON g.run_id = d.run_id AND g.image_id = d.image_id
JOIN images AS r ON r.run_id = d.run_id AND r.image_id = d.real_id
WHERE d.run_id = $run
ORDER BY d.image_id;
