"""What commands tell a person: tables, a picture, the state of a collection, a database or this machine."""
