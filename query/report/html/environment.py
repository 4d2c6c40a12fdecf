"""Where HTML templates are compiled: every value is escaped, control characters are made visible, a missing value is an error."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from query import text


def environment(folder: Path) -> Environment:
    """Of the templates in a folder."""
    made = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.finalize = lambda value: text.name(value) if type(value) is str else value  # Markup is no plain str
    return made
