-- Which generated images share their nearest real image, in one view, and how many are they?
-- Pairs farther apart than the threshold, and blank images, do not count.
-- parameter: run = latest
-- parameter: view = phash
-- parameter: threshold = 50.0
SELECT
    source, count(*) AS generated_images, min(distance) AS nearest_distance, max(distance) AS farthest_distance,
    list(generated_image ORDER BY distance, generated_image) AS names
FROM nearest_source
WHERE run_id = $run AND view = $view AND NOT blank AND distance <= CAST($threshold AS FLOAT)
GROUP BY source
HAVING count(*) >= 2
ORDER BY generated_images DESC, source;
