"""Tables that people give, such as labels and groups: CSV in the forms in which spreadsheets and programs write it.

Separated by comma, semicolon, tab or bar; with or without ``sep=`` line, byte order mark, index column and further columns;
UTF-8 or UTF-16; any line ends. Headers count without case, spaces and punctuation, and may be one of several words.
"""

import csv
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

from embeddings.errors import SynthtraceError
from embeddings.files.spreadsheet import unescaped
from embeddings.files.text import decoded, is_text_encoding
from embeddings.images.errors import printable
from query.text import many

Value = TypeVar("Value")

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}  # in the order in which they are tried
_NOTHING = ("", "na", "n/a", "nan", "null", "none", "unknown", "?")  # what programs and people write where nobody knows
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how files of Excel begin
_SHOWN = 8  # columns and words named in a message


class TableError(SynthtraceError):
    """A table of labels, groups or the like cannot be used; the message is one line: what is there, what is wanted."""


class TableWarning(UserWarning):
    """What a user should know of how a table was read: columns of other names, rows that say nothing, unknown names."""


@dataclass(frozen=True)
class TableForm:
    """How a table is written, where that is not to be found out.

    Attributes:
        delimiter: what separates fields: one character, or a name of `DELIMITERS`; None to find out.
        encoding: a codec of Python's, such as ``cp1252``; None to find out, see `embeddings.files.text.decoded`.

    Raises:
        ValueError: it is none of these.
    """

    delimiter: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        given = self.delimiter
        if given is not None:
            character = {**DELIMITERS, r"\t": "\t"}.get(given, given)
            if len(character) != 1 or character in '"\r\n\0':
                raise ValueError(f"a delimiter is one character, or {', '.join(DELIMITERS)}; got {given!r}")
            object.__setattr__(self, "delimiter", character)
        if self.encoding is not None and not is_text_encoding(self.encoding):
            raise ValueError(f"there is no encoding {self.encoding!r}; usual are utf-8, utf-16 and cp1252")


AS_FOUND = TableForm()


@dataclass(frozen=True)
class Column:
    """A column that a table must have.

    Attributes:
        name: as the documents call it.
        also: other words for it, the better ones first; without capitals, spaces and punctuation, like `name`.
        values: what stands in it, as a message says it.
    """

    name: str
    also: tuple[str, ...] = ()
    values: str = ""


IMAGE = Column(
    "image",
    ("images", "filename", "file", "imagename", "imagefile", "imagepath", "filepath", "path", "imageid", "name", "real", "id"),
    "names of images such as p1/a.png; folder and suffix may be left out",
)


class Table(dict[str, Value]):
    """Name of an image, as its file has it -> what is said of it.

    Attributes:
        source: the file, as messages name it.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source


@dataclass(frozen=True)
class Sheet:
    """The rows of a file under its header.

    Attributes:
        path: the file.
        delimiter: what separates its fields.
        header: of each column.
        rows: number of the line, and a cell for each column; rows without any text are left out.
        error: what is raised for a sheet that is no use.
    """

    path: Path
    delimiter: str
    header: Sequence[str]
    rows: Sequence[tuple[int, Sequence[str]]]
    error: type[TableError] = field(default=TableError)

    def refuse(self, problem: str, line: int | None = None) -> NoReturn:
        """Raise the error, with the file and the line before the problem."""
        where = f"{self.path}, line {line}" if line else str(self.path)
        raise self.error(printable(f"{where}: {problem}"))

    def position(self, column: Column) -> int | None:
        """Where a column stands; None where it does not."""
        words = [_plain(cell) for cell in self.header]
        for wanted in (column.name, *column.also):
            if words.count(wanted) > 1:
                self.refuse(f"{words.count(wanted)} columns are called {self.header[words.index(wanted)]!r}; keep one")
            if wanted in words:
                return words.index(wanted)
        return None

    def positions(self, columns: Sequence[Column]) -> list[int]:
        """Where the columns stand; a warning says which were taken under other names.

        Raises:
            TableError: one does not stand there.
        """
        found = [self.position(column) for column in columns]
        for column, at in zip(columns, found, strict=True):
            if at is None:
                self.refuse(self._missing(column, columns))
        places = [at for at in found if at is not None]
        others = [(c.name, self.header[at]) for c, at in zip(columns, places, strict=True) if _plain(self.header[at]) != c.name]
        if others:
            taken = ", ".join(f"{name} from column {header!r}" for name, header in others)
            warnings.warn(printable(f"{self.path}: {taken}"), TableWarning, stacklevel=2)
        return places

    def _missing(self, column: Column, columns: Sequence[Column]) -> str:
        """What is there and what is wanted."""
        wanted = ",".join(each.name for each in columns)
        if not self.header:
            return f"the file is empty; needed are {wanted}"
        names = {character: name for name, character in DELIMITERS.items()}
        separated = f"separated by {names.get(self.delimiter, repr(self.delimiter))}"
        shown = ", ".join(map(repr, self.header[:_SHOWN])) + (", ..." if len(self.header) > _SHOWN else "")
        also = f", where {column.name} may be called {', '.join(column.also[:_SHOWN])} too" if column.also else ""
        values = f" ({column.name}: {column.values})" if column.values else ""
        return f"no column '{column.name}' among {shown} ({separated}); needed are {wanted}{also}{values}"


def read_sheet(
    path: Path,
    columns: Sequence[Column],
    form: TableForm = AS_FOUND,
    error: type[TableError] = TableError,
    bare: Callable[[Sequence[str]], bool] = lambda cells: False,
) -> Sheet:
    """The table in a file; it may have further columns.

    Args:
        path: the file.
        columns: what the header should name; the delimiter is the one that finds most of them.
        form: how it is written, as far as that is known.
        error: what is raised.
        bare: whether a first row that names not all columns holds values already, in the order of `columns`.

    Raises:
        TableError: the file cannot be read or decoded, is no CSV, or has a row that does not fit under the header.
    """
    text, skipped, delimiter = _without_sep(_text(path, form, error))
    given = form.delimiter or delimiter
    best = Sheet(path, given or ",", (), (), error)
    most = (-1, -1)
    for tried in [given] if given else DELIMITERS.values():
        try:
            first = next((cells for _, cells in _rows(text, tried)), [])
        except csv.Error:
            continue
        sheet = Sheet(path, tried, [unescaped(cell).strip() for cell in first], (), error)
        rank = sum(sheet.position(column) is not None for column in columns), len(first)
        if rank > most:
            best, most = sheet, rank
    try:
        rows = [(line + skipped, cells) for line, cells in _rows(text, best.delimiter)]
    except csv.Error as problem:
        best.refuse(f"not a CSV file ({problem})")
    if most[0] < len(columns) and bare(best.header):
        names = [column.name for column in columns]
        return _even(Sheet(path, best.delimiter, [*names, *[""] * (len(best.header) - len(names))], rows, error))
    return _even(Sheet(path, best.delimiter, best.header, rows[1:], error))


def read_values(sheet: Sheet, columns: tuple[Column, Column], parse: Callable[[str], Value | None]) -> Table[Value]:
    """Name of an image -> value, in the order of the file. Equal rows count once; rows without a value are told in a warning.

    Args:
        sheet: of `read_sheet`.
        columns: of the name, and of the value.
        parse: the value that a cell means; None where it means none. Its ValueError says what is wanted.

    Raises:
        TableError: a column is not there, a row has no name or a wrong value, two rows contradict each other, or none says
            anything.
    """
    at_name, at_value = sheet.positions(columns)
    table: Table[Value] = Table(str(sheet.path))
    lines: dict[str, int] = {}
    unknown: list[str] = []
    what = columns[1].name
    for line, cells in sheet.rows:
        name, cell = unescaped(cells[at_name]), unescaped(cells[at_value]).strip()
        if not name.strip():
            sheet.refuse(f"no name of an image in column {sheet.header[at_name]!r}", line)
        try:
            value = None if cell.casefold() in _NOTHING else parse(cell)
        except ValueError as problem:
            sheet.refuse(f"{what} of {name!r} is {cell!r}; {problem}", line)
        if value is None:
            unknown.append(name)
        elif table.setdefault(name, value) != value:
            sheet.refuse(f"{name!r} has two values of {what}, {cell!r} here and another in line {lines[name]}; keep one", line)
        lines.setdefault(name, line)
    if not table:
        sheet.refuse(f"no rows under the header say {what}")
    if unknown:
        rows = many(len(unknown), "row")
        text = f"{sheet.path}: {rows} without {what}, such as that of {unknown[0]!r}: unknown"
        warnings.warn(printable(text), TableWarning, stacklevel=2)
    return table


def _plain(header: str) -> str:
    """``Patient ID`` and ``patient_id`` as ``patientid``."""
    return re.sub(r"[\W_]+", "", header.casefold())


def _text(path: Path, form: TableForm, error: type[TableError]) -> str:
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise error(f"{path}: {problem.strerror}") from problem
    if raw.startswith(_WORKBOOKS):
        raise error(f"{path}: is a workbook or another archive, no CSV; save the sheet as CSV")
    try:
        text = decoded(raw, form.encoding)
    except UnicodeError as problem:
        raise error(
            f"{path}: is not encoded as {form.encoding or 'its first bytes say'} ({problem}); name its --encoding"
        ) from problem
    if "\0" in text:
        raise error(f"{path}: is no text: it holds NUL characters")
    return text


def _without_sep(text: str) -> tuple[str, int, str | None]:
    """The text without the ``sep=;`` line of Excel, the lines taken away, and what it said."""
    found = re.match(r'"?sep=(.)"?[ \t]*(?:\r\n|\r|\n|$)', text, re.IGNORECASE)
    return (text[found.end() :], 1, found[1]) if found else (text, 0, None)


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each row that holds any text."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _even(sheet: Sheet) -> Sheet:
    """The same with a cell for each column: without the row numbers that R writes under no header, and trailing delimiters."""
    width = len(sheet.header)
    rows = sheet.rows
    if rows and all(len(cells) == width + 1 and cells[0].strip().isdigit() for _, cells in rows) and any(r[-1] for _, r in rows):
        rows = [(line, cells[1:]) for line, cells in rows]
    even = []
    for line, cells in rows:
        if any(cell.strip() for cell in cells[width:]):
            mend = "put quotation marks round a text that holds the delimiter"
            sheet.refuse(f"{len(cells)} fields under a header of {width} ({','.join(sheet.header)}); {mend}", line)
        even.append((line, [*cells[:width], *[""] * (width - len(cells))]))
    return Sheet(sheet.path, sheet.delimiter, sheet.header, even, sheet.error)
