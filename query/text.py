"""Results as text: tables for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

from embeddings.files.characters import HIDDEN, visible

if TYPE_CHECKING:
    from embeddings.images.find import LeftOut
    from indexer.collection import ArrayReading


def shown(text: str) -> str:
    r"""Lines with hidden characters as ``\x1b``: a file's name must neither drive a terminal nor turn text round."""
    return "\n".join(map(visible, text.split("\n")))


def name(text: str) -> str:
    r"""A file's name as one line: line ends too are escaped."""
    return visible(text)


def many(count: int | None, one: str, more: str = "") -> str:
    """``1 image``, ``1,000 images``, ``some images`` of a number not shown; `more` where an s does not make the plural."""
    return f"{'some' if count is None else f'{count:,}'} {one if count == 1 else more or f'{one}s'}"


def left_out(kinds: "Sequence[LeftOut]") -> str:
    """``left out by name: 12 .txt (such as notes.txt), 1 hidden (such as .x)``."""
    return f"left out by name: {', '.join(f'{kind.count:,} {name(kind.kind)} (such as {name(kind.example)})' for kind in kinds)}"


def array_reading(array: "ArrayReading") -> str:
    """One line that says how an array was taken; see `embeddings.images.containers.arrays`."""
    _, layout, dtype, values = array.reading.split(" ")
    meant = {"as-stored": "8-bit values as stored", "windowed": "each picture by the percentiles of its own values"}
    taken = meant.get(values, f"{values} to 0..255")
    return f"{name(array.path)}: {many(array.frames, 'picture')}, read as {' x '.join(layout)} of {dtype}, {taken}"


def number(distance: float) -> str:
    """A distance as it is read best: whole numbers whole, others with four significant digits."""
    return str(int(distance)) if float(distance).is_integer() else f"{distance:.4g}"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns under their names, numbers to the right, NULL empty; no line ends after the last row."""
    cells = [[_cell(value) for value in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[i], int | float | Decimal | None) for row in rows) for i in range(len(header))]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, cells)])


def plain(value: Any) -> Any:
    """The value as JSON can hold it: None for NaN, ISO 8601 for times, of objects their `as_dict` or their fields."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Decimal):  # DuckDB's HUGEINT, the type of sum()
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return float(value) if isfinite(value) else None
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "as_dict"):
        return plain(value.as_dict())
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)  # NumPy's numbers and arrays


def as_json(value: Any) -> str:
    """Indented JSON; it never holds NaN, nor a hidden character but as JSON's own escape."""
    return visible_json(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def visible_json(text: str) -> str:
    """The same JSON, with hidden characters as JSON escapes them; ends of lines stay."""
    return HIDDEN.sub(lambda match: match[0] if match[0] == "\n" else json.dumps(match[0])[1:-1], text)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | dict):
        return name(json.dumps(value, ensure_ascii=False, default=str))
    return name(str(value))
