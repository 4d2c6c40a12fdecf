-- Which searches for duplicates does this file hold, and what did each find? run: of the audit that made it; threshold: points on which
-- near-duplicates agree at least.
SELECT
    s.search_id AS search, s.run_id AS run, s.created, s.source, s.against, s.images, s.repeated,
    (SELECT count(DISTINCT m.group_id) FROM duplicate_members AS m WHERE m.search_id = s.search_id) AS groups, s.blank, s.failed,
    s.mirror, s.threshold, s.expected
FROM duplicate_searches AS s
ORDER BY s.search_id;
