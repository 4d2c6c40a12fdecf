"""What others have published to find copies, one family a file; parts of scripts/bench/rivals.py."""
