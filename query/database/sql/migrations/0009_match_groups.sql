-- Patients count alike among the controls of matching (query/comparison/match_reference.py).

ALTER TABLE matching ADD COLUMN control_groups INTEGER;  -- groups of the controls; NULL: groups are unknown
-- level is the share of images that are no copies expected above the threshold at most; NULL: groups are unknown, so nothing is promised.
ALTER TABLE matching ALTER COLUMN level DROP NOT NULL;
-- Earlier versions counted images, and promised a level where groups were unknown: those runs keep their note, and no level.
UPDATE matching SET level = NULL;
