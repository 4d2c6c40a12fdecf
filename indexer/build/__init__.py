"""Build a collection: resumable, incremental, committed as a whole."""
