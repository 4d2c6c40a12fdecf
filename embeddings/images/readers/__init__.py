"""Readers of formats that Pillow does not read, or not right; each imports its library when the first such file is met."""
