"""Text output of commands: tables, a picture, the state of a collection, a database, this machine."""
