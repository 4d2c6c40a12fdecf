"""Nearest-neighbour search: FAISS, and brute force as its reference."""
