"""Kernels for an NVIDIA GPU, in PyTorch: the views once more, in batches. They run on any device of PyTorch, the CPU too."""
