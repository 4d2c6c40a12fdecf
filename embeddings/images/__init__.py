"""Image files are found and decoded to frames of 8-bit grey."""
