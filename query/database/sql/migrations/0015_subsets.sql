-- From which subset of the real images each generated image came (query/comparison/subsets.py, `synthtrace attribute`).

-- One row for each real image that has a subset.
CREATE TABLE subset_members (
    run_id INTEGER NOT NULL,
    image_id BIGINT NOT NULL,  -- of the real image
    subset VARCHAR NOT NULL
);

-- One row for each generated image and subset.
CREATE TABLE subset_probabilities (
    run_id INTEGER NOT NULL,
    image_id BIGINT NOT NULL,  -- of the generated image
    subset VARCHAR NOT NULL,
    probability DOUBLE NOT NULL  -- that the image came from it, if it came from one of them; those of an image have 1 in all
);

-- One row for each generated image.
CREATE TABLE subset_decisions (
    run_id INTEGER NOT NULL,
    image_id BIGINT NOT NULL,  -- of the generated image
    subset VARCHAR NOT NULL,  -- the most probable one
    probability DOUBLE NOT NULL,  -- of that
    answer VARCHAR NOT NULL,  -- for people: the subset, or 'undecided' below the least probability that was asked for
    calibrated BOOLEAN NOT NULL,  -- on labels; else the probability is an uncalibrated share
    label VARCHAR,  -- the subset that labels say; the probability was then found without it
    without_best VARCHAR NOT NULL,  -- the most probable one without the patient of the best real image
    real_id BIGINT NOT NULL  -- that real image
);
