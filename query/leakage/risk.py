"""The risk that the filter runs unless asked otherwise; by itself, so that the command line can name it and load nothing else."""

RISK = 0.01  # on benchmarks of seeds 101 to 105 it withholds all copies of strength 1 to 3 and the fewest others
