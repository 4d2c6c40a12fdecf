"""What the service answers from: a copy of the database, the collection, the file of reviews."""
