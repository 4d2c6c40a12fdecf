-- Which pairs of a real and a generated image are at most so far apart, in one view?
-- A run with histograms only has the k nearest of each image: pairs beyond them are missing, and column "from" says so.
-- parameter: run = latest
-- parameter: view = phash
-- parameter: distance = 50.0
WITH pairs AS (
    SELECT real_id, generated_id, distance, 'all pairs' AS "from"
    FROM distances
    WHERE run_id = $run AND view = $view
    UNION ALL
    SELECT DISTINCT
        CASE query_role WHEN 'real' THEN query_id ELSE neighbour_id END AS real_id,
        CASE query_role WHEN 'real' THEN neighbour_id ELSE query_id END AS generated_id,
        distance, 'k nearest' AS "from"
    FROM neighbours
    WHERE run_id = $run AND view = $view AND (SELECT distances FROM runs WHERE run_id = $run) = 'histogram'
)
SELECT g.name AS generated_image, r.name AS real_image, membership(l.used) AS membership, p.distance, p."from"
FROM pairs AS p
JOIN images AS g ON g.run_id = $run AND g.image_id = p.generated_id
JOIN images AS r ON r.run_id = $run AND r.image_id = p.real_id
LEFT JOIN labels AS l ON l.run_id = $run AND l.image_id = p.real_id
WHERE p.distance <= CAST($distance AS FLOAT)  -- as stored: 0.1 as DOUBLE is smaller than 0.1 as FLOAT
ORDER BY p.distance, generated_image, real_image;
