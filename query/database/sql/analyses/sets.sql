-- What do several generated sets leak, side by side, and by how much do they differ from the first?
-- parameter: run = latest
WITH of_sets AS (
    SELECT run_id, settings->>'$.set.name' AS name, coalesce(CAST(settings->>'$.set.first_run' AS INTEGER), run_id) AS first_run,
        CAST(settings->>'$.set.generated_compared' AS BIGINT) AS images_compared
    FROM runs
    WHERE finished AND settings->>'$.set.name' IS NOT NULL
), figures AS (
    SELECT run_id, starts_with(method, 'leakage of set') AS own, split_part(method, ': ', 2) AS view, metric, value, low, high
    FROM metrics
    WHERE starts_with(method, 'leakage of set: ') OR starts_with(method, 'leakage less first set: ')
)
SELECT
    v.view, v.metric AS figure, s.name AS set, s.run_id AS run, s.images_compared, v.value, v.low, v.high,
    d.value AS difference, d.low AS difference_low, d.high AS difference_high
FROM of_sets AS s
JOIN figures AS v ON v.run_id = s.run_id AND v.own
LEFT JOIN figures AS d ON d.run_id = s.run_id AND NOT d.own AND d.view = v.view AND d.metric = v.metric
WHERE v.value IS NOT NULL AND s.first_run = (SELECT o.first_run FROM of_sets AS o WHERE o.run_id = $run)
ORDER BY v.view, v.metric, s.run_id;
