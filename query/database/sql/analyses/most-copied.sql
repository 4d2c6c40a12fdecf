-- Which real images are the nearest one of the most generated images, in each view?
-- Blank images are left out; limit is the number of real images of each view.
-- parameter: run = latest
-- parameter: limit = 20
WITH copied AS (
    SELECT
        view, source AS real_image, count(*) AS generated_images,
        min(distance) AS nearest_distance, median(distance) AS median_distance
    FROM nearest_source
    WHERE run_id = $run AND NOT blank
    GROUP BY view, source
)
SELECT c.view, c.real_image, membership(l.used) AS membership, c.generated_images, c.nearest_distance, c.median_distance
FROM copied AS c
JOIN images AS r ON r.run_id = $run AND r.role = 'real' AND r.name = c.real_image
LEFT JOIN labels AS l ON l.run_id = $run AND l.image_id = r.image_id
QUALIFY row_number() OVER (PARTITION BY c.view ORDER BY c.generated_images DESC, c.nearest_distance, c.real_image) <= $limit
ORDER BY c.view, c.generated_images DESC, c.nearest_distance, c.real_image;
