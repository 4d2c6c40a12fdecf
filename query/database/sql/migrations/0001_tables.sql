-- What one run writes. Big tables carry no PRIMARY KEY: it costs four times the time and three times the space;
-- Store.finish_run checks uniqueness by a query instead.

CREATE TABLE runs (
    run_id INTEGER NOT NULL,
    created TIMESTAMP NOT NULL,  -- UTC
    command VARCHAR NOT NULL,
    k INTEGER NOT NULL,
    mirror BOOLEAN NOT NULL,
    real_source VARCHAR NOT NULL,
    generated_source VARCHAR NOT NULL,
    real_images BIGINT NOT NULL,
    generated_images BIGINT NOT NULL,
    real_failed BIGINT NOT NULL,
    generated_failed BIGINT NOT NULL,
    distances VARCHAR NOT NULL CHECK (distances IN ('all', 'histogram')),  -- is every pair in table distances?
    settings JSON NOT NULL,
    versions JSON NOT NULL,
    finished BOOLEAN NOT NULL
);

CREATE TABLE run_views (
    run_id INTEGER NOT NULL,
    view VARCHAR NOT NULL,
    dim INTEGER NOT NULL,  -- bits for hamming, components for cosine
    metric VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    parameters JSON NOT NULL,
    note VARCHAR NOT NULL
);

-- Images that could be read; the others are in failures. image_id is unique within a run: generated images from 0 on, then real ones.
CREATE TABLE images (
    run_id INTEGER NOT NULL,
    image_id BIGINT NOT NULL CHECK (image_id >= 0),
    role VARCHAR NOT NULL CHECK (role IN ('real', 'generated')),
    path VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    frame INTEGER NOT NULL DEFAULT 0,
    sha256 VARCHAR NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    mode VARCHAR NOT NULL,
    bytes BIGINT NOT NULL,
    blank VARCHAR[] NOT NULL DEFAULT [],  -- views that saw nothing in the image: its distances there are no evidence
    "group" VARCHAR  -- patient or series, where known
);

CREATE TABLE failures (
    run_id INTEGER NOT NULL,
    role VARCHAR NOT NULL CHECK (role IN ('real', 'generated')),
    path VARCHAR NOT NULL,
    reason VARCHAR NOT NULL
);

-- Binary codes as 64-bit words, so that SQL can recompute a Hamming distance: hamming(a.words, b.words).
CREATE TABLE codes (
    run_id INTEGER NOT NULL,
    image_id BIGINT NOT NULL,
    view VARCHAR NOT NULL,
    words UBIGINT[] NOT NULL
);

-- Both directions: generated queries have real neighbours, real queries generated ones. Rank 1 is the nearest.
CREATE TABLE neighbours (
    run_id INTEGER NOT NULL,
    query_id BIGINT NOT NULL,
    query_role VARCHAR NOT NULL CHECK (query_role IN ('real', 'generated')),
    view VARCHAR NOT NULL,
    rank INTEGER NOT NULL CHECK (rank >= 1),
    neighbour_id BIGINT NOT NULL CHECK (neighbour_id >= 0),  -- keeps out FAISS's -1
    distance FLOAT NOT NULL,
    mirrored BOOLEAN NOT NULL  -- the flipped image was the nearer one
);

-- Every pair, where runs.distances = 'all'; else empty.
CREATE TABLE distances (
    run_id INTEGER NOT NULL,
    view VARCHAR NOT NULL,
    real_id BIGINT NOT NULL,
    generated_id BIGINT NOT NULL,
    distance FLOAT NOT NULL
);

-- Exact counts over all pairs, in every run. A bin holds low <= distance < high, the last one of a view its high too;
-- bins of a view are equally wide; a hamming view has one bin a distance (high = low + 1).
CREATE TABLE histograms (
    run_id INTEGER NOT NULL,
    view VARCHAR NOT NULL,
    low DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    pairs BIGINT NOT NULL CHECK (pairs >= 0)
);

CREATE TABLE scores (
    run_id INTEGER NOT NULL,
    image_id BIGINT NOT NULL,
    view VARCHAR NOT NULL,
    score VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    p_value DOUBLE,
    q_value DOUBLE
);

CREATE TABLE labels (
    run_id INTEGER NOT NULL,
    image_id BIGINT NOT NULL,
    used BOOLEAN NOT NULL
);

CREATE TABLE decisions (
    run_id INTEGER NOT NULL,
    image_id BIGINT NOT NULL,
    method VARCHAR NOT NULL,
    used BOOLEAN,  -- NULL where the method abstains
    value DOUBLE,
    threshold DOUBLE
);

CREATE TABLE metrics (
    run_id INTEGER NOT NULL,
    method VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE,  -- NULL where it is undefined, e.g. precision of a method that never says used
    low DOUBLE,  -- ends of the interval
    high DOUBLE
);

-- Number of differing bits of two codes; NULL where their lengths differ.
CREATE MACRO hamming(a, b) AS CASE WHEN len(a) = len(b) THEN
    CAST(list_sum(list_transform(list_zip(a, b), lambda pair: bit_count(xor(pair[1], pair[2])))) AS INTEGER)
END;
