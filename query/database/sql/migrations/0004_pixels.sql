-- View pixels stands in the source map too.
CREATE OR REPLACE VIEW source_map AS
SELECT
    g.run_id, g.name AS generated_image,
    any_value(s.source) FILTER (s.view = 'phash') AS phash_source, any_value(s.distance) FILTER (s.view = 'phash') AS phash_distance,
    any_value(s.source) FILTER (s.view = 'resnet') AS resnet_source, any_value(s.distance) FILTER (s.view = 'resnet') AS resnet_distance,
    any_value(s.source) FILTER (s.view = 'pixels') AS pixels_source, any_value(s.distance) FILTER (s.view = 'pixels') AS pixels_distance,
    any_value(s.source) FILTER (s.view = 'sift') AS sift_source, any_value(s.distance) FILTER (s.view = 'sift') AS sift_distance,
    any_value(s.source) FILTER (s.view = 'combined') AS combined_source,
    any_value(s.distance) FILTER (s.view = 'combined') AS combined_distance
FROM images AS g
LEFT JOIN nearest_source AS s ON s.run_id = g.run_id AND s.generated_image = g.name
WHERE g.role = 'generated'
GROUP BY g.run_id, g.image_id, g.name;
