-- How many generated images copy a real one (query/comparison/memorisation.py).

-- One row for each generated image that was matched and has a value.
CREATE TABLE match_tests (
    run_id INTEGER NOT NULL,
    generated_id BIGINT NOT NULL,
    real_id BIGINT NOT NULL,  -- the real image of the largest value
    value DOUBLE NOT NULL,
    p_value DOUBLE,  -- conformal, against real images of other patients; NULL: patients are unknown
    q_value DOUBLE  -- over all generated images of the run
);

CREATE TABLE memorisation (
    run_id INTEGER NOT NULL,
    figure VARCHAR NOT NULL CHECK (figure IN ('exact copies', 'copies', 'matched')),
    images BIGINT NOT NULL,  -- of 'matched': above the value that 1 in 100 images that are no copies reach
    "of" BIGINT NOT NULL,  -- generated images, matched or not
    value DOUBLE NOT NULL,  -- share of generated images that copy a real one
    low DOUBLE NOT NULL,  -- 95% confidence bounds
    high DOUBLE  -- NULL: more may be there than matching can see
);
