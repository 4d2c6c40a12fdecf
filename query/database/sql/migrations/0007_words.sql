-- Standard terms: matching, note, unlabelled.

ALTER TABLE verifications RENAME TO matching;
ALTER TABLE matching RENAME COLUMN said TO note;
ALTER TABLE methods RENAME COLUMN said TO note;
UPDATE neighbours SET view = 'matched' WHERE view = 'verified';
UPDATE scores SET view = 'matched' WHERE view = 'verified';

-- unlabelled: whether the image was used is not known. cross-fitted: it is known, but the prediction was made without its label and those of
-- its group. seen: its label was used in fitting, so the prediction must never be evaluated; nor where this is NULL.
UPDATE decisions SET role = 'unlabelled' WHERE role = 'questioned';

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
WHERE d.image_id IS NULL OR d.role IN ('unlabelled', 'cross-fitted')
GROUP BY l.run_id, m.method;

UPDATE methods SET facts = json_merge_patch(facts, json_object('fdr', facts->'level', 'level', NULL)) WHERE json_exists(facts, '$.level');
