"""Data behind the service: a copy of the database, the collection, the review file."""
