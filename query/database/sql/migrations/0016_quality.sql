-- What is repeated within a set of images (query/duplication, `synthtrace duplicates --db`), how diverse the set is, and how like
-- real images it is (query/quality, `synthtrace audit --quality`). A search is no run: it looks at one set.

CREATE TABLE duplicate_searches (
    search_id INTEGER NOT NULL,
    run_id INTEGER,  -- of an audit, whose generated images were searched; NULL: of `duplicates`
    created TIMESTAMP NOT NULL,  -- UTC
    source VARCHAR NOT NULL,
    against VARCHAR,  -- real images: their pairs give the threshold, their figures the baseline; NULL without them
    images BIGINT NOT NULL,  -- that were searched
    repeated BIGINT NOT NULL,  -- images that repeat another one: all of the groups but those to keep
    blank BIGINT NOT NULL,  -- images with nothing to recognise; they are duplicates of none
    failed BIGINT NOT NULL,  -- files that could not be read again
    mirror BOOLEAN NOT NULL,  -- flipped images were looked for too
    threshold DOUBLE NOT NULL,  -- points on which near-duplicates agree at least
    compared BIGINT NOT NULL,  -- pairs that tell what is usual
    usual DOUBLE,  -- points of the median of these; NULL: there was none
    expected DOUBLE,  -- of them, pairs that chance brings to the threshold; NULL: too few pairs
    by_patient BOOLEAN NOT NULL,  -- only pairs of different patients tell it
    seed BIGINT NOT NULL
);

-- An image of a group. No image is in two.
CREATE TABLE duplicate_members (
    search_id INTEGER NOT NULL,
    group_id INTEGER NOT NULL,  -- 1 is the largest
    image VARCHAR NOT NULL,
    patient VARCHAR,
    keep BOOLEAN NOT NULL,  -- the centre of the group
    like_image VARCHAR  -- what the image was found to be like: the pair is in duplicate_pairs; NULL for the centre
);

-- Two images that are duplicates: a member and what it is like, or two neighbours.
CREATE TABLE duplicate_pairs (
    search_id INTEGER NOT NULL,
    image VARCHAR NOT NULL,
    like_image VARCHAR NOT NULL,
    kind VARCHAR NOT NULL CHECK (kind IN ('file', 'pixels', 'near')),
    inliers INTEGER,  -- points that agree under one transformation; NULL for equal images
    correlation DOUBLE,  -- of grey levels after alignment; NULL: they could not be aligned
    mirrored BOOLEAN NOT NULL,
    same_patient BOOLEAN  -- NULL: unknown
);

CREATE TABLE duplicate_distances (
    search_id INTEGER NOT NULL,
    image VARCHAR NOT NULL,
    like_image VARCHAR NOT NULL,
    view VARCHAR NOT NULL,
    distance DOUBLE NOT NULL
);

CREATE TABLE diversity (
    search_id INTEGER NOT NULL,
    figure VARCHAR NOT NULL CHECK (figure IN ('vendi', 'nearest', 'duplicates')),
    view VARCHAR NOT NULL,  -- empty for 'duplicates'
    whole DOUBLE,  -- of all images
    images BIGINT NOT NULL,  -- of a subsample: what the others are for
    value DOUBLE,
    low DOUBLE,  -- 95% interval
    high DOUBLE,
    real_value DOUBLE,  -- the same of real images
    real_low DOUBLE,
    real_high DOUBLE
);

CREATE TABLE fidelity (
    run_id INTEGER NOT NULL,
    figure VARCHAR NOT NULL CHECK (
        figure IN ('precision', 'recall', 'density', 'coverage', 'frechet_distance', 'kernel_distance')
    ),
    images BIGINT,  -- of either side, compared at a time
    value DOUBLE,
    low DOUBLE,  -- 95% interval
    high DOUBLE,
    real_value DOUBLE,  -- real images against real images of other patients: what can be reached
    real_low DOUBLE,
    real_high DOUBLE,
    difference DOUBLE,  -- generated less real
    difference_low DOUBLE,
    difference_high DOUBLE,
    reason VARCHAR  -- why it was not measured; NULL where it was
);
