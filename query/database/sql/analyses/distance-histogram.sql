-- How are the distances between real and generated images distributed, in one view?
-- Equally wide bins, low <= distance < high (the last one: its high too). Bins of a hamming view, and of runs that kept only
-- a histogram, are as many as fit, each a whole number of distances or of kept bins.
-- parameter: run = latest
-- parameter: view = phash
-- parameter: bins = 32
WITH kind AS (
    SELECT
        r.distances = 'all' AS every_pair,
        coalesce((SELECT metric = 'hamming' FROM run_views WHERE run_id = $run AND view = $view), false) AS whole_numbers
    FROM runs AS r
    WHERE r.run_id = $run
),
counted AS (
    SELECT CAST(distance AS DOUBLE) AS low, CAST(distance AS DOUBLE) + CASE WHEN whole_numbers THEN 1 ELSE 0 END AS high, 1 AS pairs
    FROM distances, kind
    WHERE every_pair AND run_id = $run AND view = $view
    UNION ALL
    SELECT low, high, pairs
    FROM histograms, kind
    WHERE NOT every_pair AND run_id = $run AND view = $view AND pairs > 0
),
extent AS (  -- unit: width of a kept bin, 0 for single distances
    SELECT
        min(low) AS low, max(high) AS high,
        coalesce((max(high) - min(low)) / round((max(high) - min(low)) / nullif(min(high - low), 0)), 0) AS unit
    FROM counted
),
grid AS (
    SELECT low, unit, CASE WHEN unit > 0 THEN ceil((high - low) / unit / $bins - 1e-9) * unit ELSE (high - low) / $bins END AS width
    FROM extent
),
binned AS (  -- half a unit keeps rounding from moving a kept bin to its neighbour
    SELECT
        CAST(CASE WHEN g.width > 0 THEN least(floor((c.low - g.low + g.unit / 2) / g.width), $bins - 1) ELSE 0 END AS BIGINT) AS bin,
        sum(c.pairs) AS pairs
    FROM counted AS c, grid AS g
    GROUP BY bin
),
every_bin AS (SELECT unnest(range((SELECT max(bin) + 1 FROM binned))) AS bin)
SELECT
    g.low + e.bin * g.width AS low, g.low + (e.bin + 1) * g.width AS high,
    CAST(coalesce(b.pairs, 0) AS BIGINT) AS pairs,
    coalesce(b.pairs, 0) / sum(b.pairs) OVER () AS share,
    CASE WHEN k.every_pair THEN 'all pairs' ELSE 'histogram' END AS "from"
FROM every_bin AS e
CROSS JOIN grid AS g
CROSS JOIN kind AS k
LEFT JOIN binned AS b ON b.bin = e.bin
ORDER BY low;
