"""Find image files and decode them to 8-bit grey frames."""
