"""Lay text out in lines: wrap what is too long, put texts side by side."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from query.text import name

WIDTH = 100


def wrapped(lines: Iterable[str]) -> str:
    """Lines of at most `WIDTH` columns, each ended, without hidden characters; what is wrapped goes on indented."""
    text = ""
    for line in map(name, lines):
        indent = " " * (len(line) - len(line.lstrip(" ")) + 2)
        options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": indent}
        text += "\n".join(textwrap.wrap(line, WIDTH, **options) if len(line) > WIDTH else [line]) + "\n"
    return text


def in_columns(texts: Sequence[str]) -> Iterator[str]:
    """Two texts a line."""
    for start in range(0, len(texts), 2):
        yield "".join(f"{text:<44}" for text in texts[start : start + 2]).rstrip()
