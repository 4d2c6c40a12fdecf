"""The report on a run: what was found, gathered as plain values, drawn, and written as one HTML file beside its JSON."""
