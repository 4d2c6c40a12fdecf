"""Benchmarks with known truth, and fine-tuning of the network on your own images."""
