-- How far are generated images from the real images of each group (patient or series), in each view?
-- A run with histograms only has no groups here; nearest-generated still has them.
-- parameter: run = latest
WITH measured AS (
    SELECT d.view, coalesce(r."group", '(no group)') AS "group", CAST(d.distance AS DOUBLE) AS distance
    FROM distances AS d
    JOIN images AS r ON r.run_id = d.run_id AND r.image_id = d.real_id
    WHERE d.run_id = $run
)
SELECT view, "group", pairs, unnest(quantile_columns(q)), 'all pairs' AS "from"
FROM (SELECT view, "group", count(*) AS pairs, quantile_cont(distance, quantile_levels()) AS q FROM measured GROUP BY ALL)
UNION ALL
SELECT view, '(all groups)' AS "group", pairs, unnest(quantile_columns(q)), 'histogram' AS "from"
FROM histogram_quantiles
WHERE run_id = $run
ORDER BY view, "group";
