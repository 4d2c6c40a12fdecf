-- Views for people: names instead of ids, and run_id in each. WHERE run_id = (SELECT run_id FROM latest_run) picks the newest run.

CREATE VIEW latest_run AS
SELECT * FROM runs WHERE finished ORDER BY run_id DESC LIMIT 1;

CREATE MACRO membership(used) AS CASE WHEN used THEN 'used' WHEN NOT used THEN 'not used' ELSE 'unlabelled' END;

-- Nearest real image of each generated image. blank: the view saw nothing in one of the two, so the distance is no evidence.
CREATE VIEW nearest_source AS
SELECT
    n.run_id, n.view, g.name AS generated_image, r.name AS source, n.distance, n.mirrored,
    list_contains(g.blank, n.view) OR list_contains(r.blank, n.view) AS blank
FROM neighbours AS n
JOIN images AS g ON g.run_id = n.run_id AND g.image_id = n.query_id
JOIN images AS r ON r.run_id = n.run_id AND r.image_id = n.neighbour_id
WHERE n.query_role = 'generated' AND n.rank = 1;

-- Nearest generated image of each real image, with what is known about the real one.
CREATE VIEW nearest_generated AS
SELECT
    n.run_id, n.view, r.name AS real_image, membership(l.used) AS membership, g.name AS generated_image, n.distance, n.mirrored,
    list_contains(g.blank, n.view) OR list_contains(r.blank, n.view) AS blank
FROM neighbours AS n
JOIN images AS r ON r.run_id = n.run_id AND r.image_id = n.query_id
JOIN images AS g ON g.run_id = n.run_id AND g.image_id = n.neighbour_id
LEFT JOIN labels AS l ON l.run_id = n.run_id AND l.image_id = n.query_id
WHERE n.query_role = 'real' AND n.rank = 1;

-- One row for each generated image: its nearest real image by each view, side by side, whatever the distance.
CREATE VIEW source_map AS
SELECT
    g.run_id, g.name AS generated_image,
    any_value(s.source) FILTER (s.view = 'phash') AS phash_source, any_value(s.distance) FILTER (s.view = 'phash') AS phash_distance,
    any_value(s.source) FILTER (s.view = 'resnet') AS resnet_source, any_value(s.distance) FILTER (s.view = 'resnet') AS resnet_distance,
    any_value(s.source) FILTER (s.view = 'sift') AS sift_source, any_value(s.distance) FILTER (s.view = 'sift') AS sift_distance,
    any_value(s.source) FILTER (s.view = 'combined') AS combined_source,
    any_value(s.distance) FILTER (s.view = 'combined') AS combined_distance
FROM images AS g
LEFT JOIN nearest_source AS s ON s.run_id = g.run_id AND s.generated_image = g.name
WHERE g.role = 'generated'
GROUP BY g.run_id, g.image_id, g.name;

-- Exact in every run: counted over all pairs while they were computed.
CREATE VIEW distance_histogram AS
SELECT
    run_id, view, low, high, pairs,
    pairs / sum(pairs) OVER whole AS share,
    sum(pairs) OVER (whole ORDER BY low) / sum(pairs) OVER whole AS cumulative_share
FROM histograms
WINDOW whole AS (PARTITION BY run_id, view);

CREATE MACRO quantile_levels() AS [0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1];

-- A list of distances at quantile_levels() as named columns: SELECT unnest(quantile_columns(list)).
CREATE MACRO quantile_columns(q) AS {
    'minimum': q[1], 'q01': q[2], 'q05': q[3], 'q25': q[4], 'median': q[5], 'q75': q[6], 'q95': q[7], 'q99': q[8], 'maximum': q[9]
};

-- Quantiles of runs that kept only histograms. A hamming bin is one distance, so there they are exact up to interpolation between
-- ranks; in other views they are linear within a bin and off by at most its width.
CREATE VIEW histogram_quantiles AS
WITH bins AS (
    SELECT
        h.run_id, h.view, h.low, h.high, h.pairs, coalesce(v.metric = 'hamming', false) AS whole_numbers,
        sum(h.pairs) OVER (PARTITION BY h.run_id, h.view ORDER BY h.low) AS upto,
        sum(h.pairs) OVER (PARTITION BY h.run_id, h.view) AS total
    FROM histograms AS h
    JOIN runs AS r ON r.run_id = h.run_id AND r.distances = 'histogram'
    LEFT JOIN run_views AS v ON v.run_id = h.run_id AND v.view = h.view
    WHERE h.pairs > 0
),
ranked AS (  -- the bin that holds the pair of each level's rank, counted from 0
    SELECT bins.*, levels.level, levels.level * (total - 1) AS rank
    FROM bins, (SELECT unnest(quantile_levels()) AS level) AS levels
    WHERE levels.level * (total - 1) < upto AND levels.level * (total - 1) >= upto - pairs
)
SELECT
    run_id, view, CAST(any_value(total) AS BIGINT) AS pairs,
    list(low + CASE WHEN whole_numbers THEN 0 ELSE (high - low) * (rank - (upto - pairs)) / pairs END ORDER BY level) AS q
FROM ranked
GROUP BY run_id, view;

CREATE VIEW distance_quantiles AS
SELECT run_id, view, pairs, unnest(quantile_columns(q)), 'all pairs' AS "from"
FROM (SELECT run_id, view, count(*) AS pairs, quantile_cont(CAST(distance AS DOUBLE), quantile_levels()) AS q FROM distances GROUP BY ALL)
UNION ALL
SELECT run_id, view, pairs, unnest(quantile_columns(q)), 'histogram' AS "from"
FROM histogram_quantiles;

-- Decisions held against labels, one row for each method; undecided: labelled, but the method gave no answer.
CREATE VIEW confusion AS
SELECT
    l.run_id, m.method,
    count(*) FILTER (l.used AND d.used) AS true_positives,
    count(*) FILTER (NOT l.used AND d.used) AS false_positives,
    count(*) FILTER (NOT l.used AND NOT d.used) AS true_negatives,
    count(*) FILTER (l.used AND NOT d.used) AS false_negatives,
    count(*) FILTER (d.used IS NULL) AS undecided
FROM labels AS l
JOIN (SELECT DISTINCT run_id, method FROM decisions) AS m ON m.run_id = l.run_id
LEFT JOIN decisions AS d ON d.run_id = l.run_id AND d.image_id = l.image_id AND d.method = m.method
GROUP BY l.run_id, m.method;
