"""What `scripts/attack.py` tries: one kind of attack a file."""
