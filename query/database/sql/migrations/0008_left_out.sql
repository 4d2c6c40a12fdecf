-- What was left aside because of its name, not only what could not be read.

-- Number of files that the row stands for: path is one of them. NULL for a file that could not be read.
ALTER TABLE failures ADD COLUMN left_out INTEGER;
