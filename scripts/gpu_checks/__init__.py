"""Parts of gpu_check.py: measurements, limits of the card, and the stand-in for FAISS's GPU classes."""
