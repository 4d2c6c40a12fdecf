-- Pairs whose local structure was compared: SIFT matches, one geometric model, what is alike after alignment (query/comparison/geometry.py).
-- Measures are NULL where no model was found. Lengths are in pixels of an image whose longer side is 256.
CREATE TABLE matches (
    run_id INTEGER NOT NULL,
    real_id BIGINT NOT NULL,
    generated_id BIGINT NOT NULL,
    value DOUBLE,  -- inliers over what is usual for the generated image, larger: more surely the same picture; NULL: unknown
    matches INTEGER NOT NULL,  -- mutual nearest descriptors that pass the ratio test
    inliers INTEGER NOT NULL,  -- of them, those that the model explains
    inlier_ratio DOUBLE NOT NULL,
    area DOUBLE,  -- share of the generated image inside the convex hull of its inliers
    residual DOUBLE,  -- root mean square distance of inliers from where the model puts them
    correlation DOUBLE,  -- of grey levels, where both images show something after alignment
    ssim DOUBLE,
    tiles DOUBLE[],  -- correlation by tile, 4 x 4, row by row; NaN where a tile has nothing to compare
    ssim_tiles DOUBLE[],  -- the same of ssim
    quarter_turns INTEGER NOT NULL,  -- of the real image, counterclockwise
    mirrored BOOLEAN NOT NULL,  -- the real image was flipped left to right before it was turned
    transform DOUBLE[]  -- 2 x 3, row by row: from pixels of the real image, as it is, to pixels of the generated one
);

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
