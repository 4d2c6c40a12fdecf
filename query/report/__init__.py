"""Report a run: text, figures, HTML, JSON."""
