"""Figures that may decide between sets; by themselves, so that the command line can name them and load nothing else."""

PRIMARIES = ("memorised_excess", "nearer_to_training")  # of the combined view; the first unless asked otherwise
# Of recorded runs, see `query.database.paired_runs`; the first that all runs have unless asked otherwise
TRACES = ("called_patients", "matched_images", "matched_patients", "copies")
