-- How far is the nearest generated image from the used, from the not used and from the unlabelled real images, in each view?
-- Exact in every run: it needs the nearest neighbours only. Blank images are left out.
-- parameter: run = latest
SELECT view, membership AS real_images, images, unnest(quantile_columns(q))
FROM (
    SELECT view, membership, count(*) AS images, quantile_cont(CAST(distance AS DOUBLE), quantile_levels()) AS q
    FROM nearest_generated
    WHERE run_id = $run AND NOT blank
    GROUP BY ALL
)
ORDER BY view, real_images;
