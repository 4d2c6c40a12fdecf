"""A run becomes text, figures, one HTML file and its JSON."""
