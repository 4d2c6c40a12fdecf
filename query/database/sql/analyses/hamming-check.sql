-- Do the stored neighbours' Hamming distances equal those recomputed from the codes? No pair may differ.
-- The code of a flipped image is not kept: where the flipped image was nearer, the distance between the codes must not be smaller.
-- parameter: run = latest
WITH recomputed AS (
    SELECT n.view, n.distance, n.mirrored, hamming(q.words, m.words) AS bits
    FROM neighbours AS n
    JOIN run_views AS v ON v.run_id = n.run_id AND v.view = n.view AND v.metric = 'hamming'
    LEFT JOIN codes AS q ON q.run_id = n.run_id AND q.view = n.view AND q.image_id = n.query_id
    LEFT JOIN codes AS m ON m.run_id = n.run_id AND m.view = n.view AND m.image_id = n.neighbour_id
    WHERE n.run_id = $run
)
SELECT
    view, count(*) AS pairs, count(*) FILTER (bits IS NULL) AS without_code, count(*) FILTER (mirrored) AS mirrored,
    count(*) FILTER (CASE WHEN mirrored THEN bits < distance ELSE bits <> distance END) AS differing
FROM recomputed
GROUP BY view
ORDER BY view;
