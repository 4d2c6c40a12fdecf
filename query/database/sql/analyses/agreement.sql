-- For which share of the generated images do two views name the same nearest real image?
-- Images that are blank in one of the two views are left out.
-- parameter: run = latest
WITH seen AS (SELECT view, generated_image, source FROM nearest_source WHERE run_id = $run AND NOT blank)
SELECT
    a.view, b.view AS other_view, count(*) AS generated_images,
    count(*) FILTER (a.source = b.source) AS same_source,
    count(*) FILTER (a.source = b.source) / count(*) AS share
FROM seen AS a
JOIN seen AS b ON b.generated_image = a.generated_image
GROUP BY a.view, b.view
ORDER BY a.view, b.view;
