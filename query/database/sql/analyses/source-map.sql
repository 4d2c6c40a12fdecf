-- Which real image is the source of each generated image: the nearest by phash, or none where it is farther than the threshold?
-- A blank image has no source.
-- parameter: run = latest
-- parameter: threshold = 50.0
SELECT
    g.name AS generated_image,
    CASE WHEN NOT n.blank AND n.distance <= CAST($threshold AS FLOAT) THEN n.source END AS source,
    n.source AS nearest_real_image, n.distance, n.mirrored, n.blank
FROM images AS g
LEFT JOIN nearest_source AS n ON n.run_id = g.run_id AND n.generated_image = g.name AND n.view = 'phash'
WHERE g.run_id = $run AND g.role = 'generated'
ORDER BY g.image_id;
