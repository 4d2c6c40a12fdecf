-- How are the distances of one view distributed for the used, the not used and the unlabelled real images, and for each group?
-- Equally wide bins over the range of the view, of whole numbers in a hamming view; low <= distance < high (the last one: its high
-- too). A run with histograms only has no groups: it gives all real images together, in the bins that were kept.
-- parameter: run = latest
-- parameter: view = phash
-- parameter: bins = 32
WITH measured AS (
    SELECT membership(l.used) AS membership, r."group", CAST(d.distance AS DOUBLE) AS distance
    FROM distances AS d
    JOIN images AS r ON r.run_id = d.run_id AND r.image_id = d.real_id
    LEFT JOIN labels AS l ON l.run_id = d.run_id AND l.image_id = d.real_id
    WHERE d.run_id = $run AND d.view = $view
),
extent AS (
    SELECT min(distance) AS low, max(distance) AS high, any_value(metric = 'hamming') AS whole_numbers
    FROM measured, run_views
    WHERE run_views.run_id = $run AND run_views.view = $view
),
grid AS (SELECT low, CASE WHEN whole_numbers THEN ceil((high - low + 1) / $bins) ELSE (high - low) / $bins END AS width FROM extent),
binned AS (
    SELECT
        membership, "group",
        CASE WHEN width > 0 THEN least(floor((distance - low) / width), $bins - 1) ELSE 0 END AS bin,
        count(*) AS pairs
    FROM measured, grid
    GROUP BY GROUPING SETS ((membership, bin), ("group", bin))
    HAVING membership IS NOT NULL OR "group" IS NOT NULL
)
SELECT
    coalesce(membership, 'group ' || "group") AS real_images, low + bin * width AS low, low + (bin + 1) * width AS high, pairs,
    pairs / sum(pairs) OVER (PARTITION BY membership, "group") AS share,
    'all pairs' AS "from"
FROM binned, grid
UNION ALL
SELECT 'all' AS real_images, h.low, h.high, h.pairs, h.pairs / sum(h.pairs) OVER () AS share, 'histogram' AS "from"
FROM histograms AS h
JOIN runs AS r ON r.run_id = h.run_id AND r.distances = 'histogram'
WHERE h.run_id = $run AND h.view = $view AND h.pairs > 0
ORDER BY real_images, low;
