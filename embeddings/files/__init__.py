"""Safe file input and output: atomic writes with mode 0600, bounded reads, temporary folders, CSV."""
