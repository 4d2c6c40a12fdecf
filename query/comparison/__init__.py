"""Real images are compared with generated ones: all distances, nearest neighbours, geometric verification of pairs."""
