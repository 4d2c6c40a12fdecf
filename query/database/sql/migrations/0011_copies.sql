-- Generated images that are copies of real ones, as files or as pixels (query/comparison/copies.py): evidence by itself.
CREATE TABLE copies (
    run_id INTEGER NOT NULL,
    real_id BIGINT NOT NULL,
    generated_id BIGINT NOT NULL,
    kind VARCHAR NOT NULL CHECK (kind IN ('file', 'pixels', 'near')),
    similarity DOUBLE NOT NULL,  -- correlation of pixels, the smaller of thumbnails and full size
    mirrored BOOLEAN NOT NULL,  -- the real image was flipped left to right before it was turned
    quarter_turns INTEGER NOT NULL  -- of the real image, counterclockwise
);

-- A row for each run that copies were looked for in.
CREATE TABLE copy_search (
    run_id INTEGER NOT NULL,
    threshold DOUBLE NOT NULL,  -- similarity that a near-exact copy has at least
    largest DOUBLE NOT NULL,  -- similarity of the two real images of different groups that are most alike
    failed INTEGER NOT NULL  -- images that could not be read again
);
