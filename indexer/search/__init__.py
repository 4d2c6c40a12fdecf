"""Nearest neighbours among vectors: FAISS, and brute force as its reference."""
