-- Conformal p-values of every single score against the real images known not to be used, those of an image's own group left out:
-- (1 + number of them at least as near) / (n + 1). Exploratory: many scores, none chosen beforehand.
UPDATE scores AS own SET p_value = found.p_value
FROM (
    SELECT s.image_id, s.view, s.score,
        (1 + count(*) FILTER (CASE WHEN s.score IN ('margin', 'nearest_count') THEN r.value >= s.value ELSE r.value <= s.value END))
            / (count(*) + 1.0) AS p_value
    FROM scores AS s
    JOIN images AS i ON i.run_id = s.run_id AND i.image_id = s.image_id AND i.role = 'real'
    JOIN labels AS l ON l.run_id = s.run_id AND NOT l.used AND l.image_id <> s.image_id
    JOIN images AS o ON o.run_id = s.run_id AND o.image_id = l.image_id AND (o."group" IS NULL OR o."group" IS DISTINCT FROM i."group")
    JOIN scores AS r ON r.run_id = s.run_id AND r.image_id = l.image_id AND r.view = s.view AND r.score = s.score
    WHERE s.run_id = $run
    GROUP BY s.image_id, s.view, s.score
) AS found
WHERE own.run_id = $run AND own.image_id = found.image_id AND own.view = found.view AND own.score = found.score;
