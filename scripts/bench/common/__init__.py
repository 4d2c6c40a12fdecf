"""What scripts in this folder have in common."""
