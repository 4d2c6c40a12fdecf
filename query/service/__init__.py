"""The HTTP service: serves a run and a collection to the review page and to programs."""
