"""Images to vectors: decode, then embed by each view. Read types.py first."""
