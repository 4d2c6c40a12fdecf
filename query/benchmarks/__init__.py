"""Benchmarks with known truth, and the training of a network on one's own images."""
