"""Reviews of pairs, kept in a file beside the database."""
