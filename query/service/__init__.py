"""The HTTP service: a run and a collection, asked from a browser or a program."""
