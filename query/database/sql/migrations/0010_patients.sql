-- Decisions on patients and on the whole set.

-- answer: of an image. used: it is the only image of its patient, who is called used. patient used: its patient is, by this image or by
-- another. no trace found: the patient was tested and is not called used, which does not clear him. undecided: no test was possible.
UPDATE decisions SET answer = 'no trace found' WHERE answer = 'not used';
-- probability is P(used) at even odds; these are the same at the lowest and the highest prior that table methods states.
ALTER TABLE decisions ADD COLUMN probability_low DOUBLE;
ALTER TABLE decisions ADD COLUMN probability_high DOUBLE;
-- role may also be sibling: not used, but of a patient with used images, and held back from the reference.

CREATE TABLE patient_decisions (
    run_id INTEGER NOT NULL,
    method VARCHAR NOT NULL,
    patient VARCHAR NOT NULL,  -- "group" of its images, or the name of an image without a group
    image_id BIGINT NOT NULL,  -- its image that lies nearest to the generated ones
    images INTEGER NOT NULL,  -- that the p-value stands on
    role VARCHAR NOT NULL,
    p_value DOUBLE NOT NULL,  -- conformal: no image of this patient was used
    q_value DOUBLE NOT NULL,
    decision VARCHAR NOT NULL CHECK (decision IN ('used', 'no trace found', 'undecided'))
);

CREATE TABLE set_tests (
    run_id INTEGER NOT NULL,
    method VARCHAR NOT NULL,
    p_value DOUBLE NOT NULL,  -- no patient of the set was used
    share_low DOUBLE NOT NULL,  -- at least this share of them was used, with 95% confidence
    patients INTEGER NOT NULL,
    reference_patients INTEGER NOT NULL
);
