r"""Write CSV without spreadsheet formulas: the only place that writes CSV.

A text that a spreadsheet would run as a formula gets an apostrophe before it (OWASP, "CSV Injection"): one that begins with
``=``, ``+``, ``-`` or ``@``, also in full width, also after spaces and quotation marks, and also behind a separator inside the
text, since the spreadsheet may split it there. Numbers are left alone. Hidden characters (`embeddings.files.characters`) are
written as escapes such as ``\x1b``, and the backslash of a text that would read as such an escape as ``\x5c``. So `unescaped`
gives every text back.
"""

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from embeddings.files.characters import HIDDEN

if TYPE_CHECKING:
    import pyarrow as pa

_EQUALS, _SIGN = "=@＝＠﹦﹫", "+＋－﹢﹣\\-"
_ESCAPE = r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})"
_BEFORE = rf"(?:[\s'\"`]|{_ESCAPE})*"
# At the start and behind a semicolon every such character; behind a comma no sign, since lists of numbers hold those.
_START = rf"{_BEFORE}(?:[{_EQUALS}{_SIGN}]|\\x0[9ad])"  # a tab and the ends of lines count by themselves
_PLACES = rf"(?:^|(?<=;))(?={{0}}{_START})|(?<=,)(?={{0}}{_BEFORE}[{_EQUALS}])"
_DANGEROUS = re.compile(_PLACES.replace("{0}", ""))
_MARKED = re.compile(rf"(?:{_PLACES.replace('{0}', chr(39))})'")
_ESCAPED = re.compile(_ESCAPE)


def escaped(text: str) -> str:
    """The text as a cell that no spreadsheet runs and no terminal obeys."""
    literal = _ESCAPED.sub(lambda match: match[0] if _character(match) is None else _escape("\\") + match[0][1:], text)
    return _DANGEROUS.sub("'", HIDDEN.sub(lambda match: _escape(match[0]), literal))


def unescaped(cell: str) -> str:
    """The text of a cell that `escaped` made; one that people wrote stays as it is, unless it looks like one of those."""
    return _ESCAPED.sub(lambda match: _character(match) or match[0], _MARKED.sub("", cell))


def _escape(character: str) -> str:
    r"""``\x1b``, ``\u202e`` or ``\U000e0001``.

    From U+0080 on never ``\x80``: that is how `embeddings.images.errors.printable` writes a byte that is not UTF-8. And never
    ``\n``: many a word behind a backslash begins like that.
    """
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _character(match: re.Match[str]) -> str | None:
    """The character that an escape stands for; None where `escaped` never writes that."""
    code = int(match[0][2:], 16)
    character = chr(code) if code <= sys.maxunicode else ""
    written = character == "\\" or HIDDEN.fullmatch(character)
    return character if written and _escape(character) == match[0] else None


def write_rows(file: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a header and rows as UTF-8; None is an empty cell."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow([escaped(cell) if isinstance(cell, str) else cell for cell in row])
    text.detach()  # which flushes it, and leaves the file open for its owner


def read_rows(file: Iterable[str]) -> Iterator[dict[str, str]]:
    """The rows under a header, as they were before they were escaped."""
    for row in csv.DictReader(file):
        yield {name: unescaped(cell or "") for name, cell in row.items()}


def write_arrow(file: BinaryIO, table: "pa.Table") -> None:
    """The same of an Arrow table, fast where there are many numbers. Lists and structs become JSON."""
    import pyarrow as pa
    import pyarrow.csv

    columns = [_arrow_cells(column) for column in table.columns]
    pa.csv.write_csv(pa.table(columns, names=[escaped(name) for name in table.column_names]), file)


def _arrow_cells(column: "pa.ChunkedArray") -> "pa.ChunkedArray | pa.Array":
    """Numbers and times as they are, all else as escaped text."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):  # numbers, yes or no, times
        return column
    if pa.types.is_string(kind):  # names repeat, so each is escaped once
        encoded = column.combine_chunks().dictionary_encode()
        return pa.array(map(escaped, encoded.dictionary.to_pylist()), pa.string()).take(encoded.indices)
    return pa.array([None if value is None else escaped(_text(value)) for value in column.to_pylist()], pa.string())


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
