-- Parquet files beside the database, which hold the rows of generated images of runs with very many of them (query/database/parquet.py).
-- With the first such run tables images, codes, neighbours, scores and release_decisions become views of the same name: of these files, and of
-- NAME_table, which holds all other rows.
CREATE TABLE parquet_files (
    run_id INTEGER NOT NULL,
    table_name VARCHAR NOT NULL,  -- whose rows it holds
    path VARCHAR NOT NULL,  -- from the folder of the database on
    row_count BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 VARCHAR NOT NULL
);
