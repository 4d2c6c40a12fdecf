"""One page to sign: what was examined, found, not measured and must be withheld, in phrases that a template file may replace."""
