-- What stands behind table matches: how much was looked at, and the value that images which cannot be copies seldom exceed.
CREATE TABLE verifications (
    run_id INTEGER NOT NULL,
    generated_images BIGINT NOT NULL,  -- that were looked at
    pairs BIGINT NOT NULL,
    controls INTEGER NOT NULL,  -- real images that were compared with those of other groups
    level DOUBLE NOT NULL,
    threshold DOUBLE,  -- NULL without controls; a pair stands out when its value is above
    said VARCHAR NOT NULL
);
