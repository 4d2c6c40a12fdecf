-- Decisions with their evidence, and what each method of a run was.

ALTER TABLE decisions ADD COLUMN p_value DOUBLE;  -- conformal, NULL without a reference
ALTER TABLE decisions ADD COLUMN q_value DOUBLE;  -- by Benjamini and Hochberg, of the primary method only
ALTER TABLE decisions ADD COLUMN probability DOUBLE;  -- P(used) with the prior that table methods states, NULL without labels
ALTER TABLE decisions ADD COLUMN answer VARCHAR;  -- used, not used, undecided; `used` is the forced yes or no

-- questioned: nothing was known of the image. cross-fitted: its label is known, but neither it nor that of its group was looked at.
-- seen: its label was looked at, so it must never be evaluated; nor where this is NULL.
ALTER TABLE decisions ADD COLUMN role VARCHAR;
-- Until now only `map` decided, which sees no labels, and kept distances; now larger values speak for used.
UPDATE decisions SET role = 'questioned', value = -value, threshold = -threshold;

CREATE TABLE methods (
    run_id INTEGER NOT NULL,
    method VARCHAR NOT NULL,
    calibrated BOOLEAN NOT NULL,  -- was the threshold found on images whose membership is known?
    needs VARCHAR NOT NULL,  -- what it must be told
    said VARCHAR NOT NULL,  -- where the threshold comes from, for people
    facts JSON NOT NULL,
    detail JSON NOT NULL  -- facts and lists of numbers of its answer
);

-- Only what may be judged: where a label was looked at, agreement with it says nothing.
CREATE OR REPLACE VIEW confusion AS
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
WHERE d.image_id IS NULL OR d.role IN ('questioned', 'cross-fitted')
GROUP BY l.run_id, m.method;
