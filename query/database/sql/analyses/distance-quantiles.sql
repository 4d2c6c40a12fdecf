-- How far are generated images from all, from the used, from the not used and from the unlabelled real images, in each view?
-- A run with histograms only gives all real images together; nearest-quantiles separates them in every run.
-- parameter: run = latest
WITH measured AS (
    SELECT d.view, membership(l.used) AS membership, CAST(d.distance AS DOUBLE) AS distance
    FROM distances AS d
    LEFT JOIN labels AS l ON l.run_id = d.run_id AND l.image_id = d.real_id
    WHERE d.run_id = $run
)
SELECT view, coalesce(membership, 'all') AS real_images, pairs, unnest(quantile_columns(q)), 'all pairs' AS "from"
FROM (
    SELECT view, membership, count(*) AS pairs, quantile_cont(distance, quantile_levels()) AS q
    FROM measured
    GROUP BY GROUPING SETS ((view), (view, membership))
)
UNION ALL
SELECT view, 'all' AS real_images, pairs, unnest(quantile_columns(q)), 'histogram' AS "from"
FROM histogram_quantiles
WHERE run_id = $run
ORDER BY view, real_images;
