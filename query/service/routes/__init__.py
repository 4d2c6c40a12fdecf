"""One file for each kind of address: what it takes, whom it asks, what it answers."""
