"""Compare real with generated images: distances, nearest neighbours, geometric matching of pairs."""
