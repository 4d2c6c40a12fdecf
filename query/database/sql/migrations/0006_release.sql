-- Which generated images the filter keeps and which it withholds (query/leakage/filter.py). Its rows are there for every generated image of a
-- run that the filter could sort: of an audit or another run with labels of both kinds, and of `synthtrace filter --db`.
CREATE TABLE release_decisions (
    run_id INTEGER NOT NULL,
    image_id BIGINT NOT NULL,  -- of the generated image
    decision VARCHAR NOT NULL CHECK (decision IN ('keep', 'withhold')),
    reason VARCHAR NOT NULL,
    view VARCHAR NOT NULL,  -- whose distances
    score DOUBLE,  -- how far the nearest used image stands out; NULL where no view sees anything in the generated one
    threshold DOUBLE NOT NULL,  -- withheld above it
    risk DOUBLE,  -- share of images that would be lost of a generator that copies nothing; NULL where nothing calibrates the threshold
    nearest_id BIGINT,  -- the nearest used image, NULL as the score
    distance DOUBLE  -- to that
);
