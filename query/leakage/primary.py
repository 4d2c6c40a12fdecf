"""Figures that may decide between sets; by themselves, so that the command line can name them and load nothing else."""

PRIMARIES = ("memorised_excess", "nearer_to_training")  # of the combined view; the first unless asked otherwise
