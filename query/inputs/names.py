"""Names of images in tables that people give: found among the images although folders or suffix differ.

A name in a table means an image if it is, from best to worst: the image's own name; that of the file whose slices are images; an
end of its path (``a.png`` and ``p1/a`` for ``real/p1/a.png``); a path that ends with the image's whole name (``/scans/p1/a.png``
for ``p1/a.png``). Suffixes may be left out, backslashes count as slashes. The best meaning counts, and it must be the only one.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NoReturn, TypeVar

from embeddings.images.decoding import SUFFIXES
from embeddings.images.errors import printable
from query.inputs.tables import Table, TableError, TableWarning
from query.text import many

Value = TypeVar("Value")

_OWN, _FILE, _END, _BEYOND, _NONE = range(5)  # how well a name means an image
_SLICE = re.compile(r"#\d+$")


def matched(
    sets: Sequence[Sequence[str]], table: Mapping[str, Value], what: str, error: type[TableError] = TableError
) -> list[dict[int, Value]]:
    """For each set of images, row -> what a table says of it. A warning tells of names that mean no image.

    Args:
        sets: names of the images of each.
        table: name -> value, of `query.inputs.tables.read_values` or made otherwise.
        what: the values are, as messages name it, such as ``label``.
        error: what is raised.

    Raises:
        TableError: no name means an image, one means several, or two say different things of one image.
    """
    if not table:
        return [{} for _ in sets]
    told = _Match(table, what, table.source if isinstance(table, Table) else f"the {what}s given", error)
    found = [told.of(names) for names in sets]
    unknown = [name for name in table if name not in told.known]
    if unknown:
        example = next((name for names in sets for name in names), "")
        those = f"{unknown[0]!r}, while images have names such as {example!r}"
        if len(unknown) == len(table):
            told.refuse(
                f"none of its {many(len(table), 'name')} is among the images: it has {those}; folder and suffix may be left out"
            )
        count = f"ignored {many(len(unknown), 'name')} of {len(table):,} that no image has, such as {those}"
        warnings.warn(printable(f"{told.where}: {count}"), TableWarning, stacklevel=2)
    return found


@dataclass
class _Match(Generic[Value]):
    """A table, how messages name it, and which of its names were known so far."""

    table: Mapping[str, Value]
    what: str
    where: str
    error: type[TableError]
    known: set[str] = field(default_factory=set)

    def of(self, names: Sequence[str]) -> dict[int, Value]:
        """Row -> value."""
        best: dict[int, tuple[int, str]] = {}
        for name, (rank, rows) in sorted(_meanings(names, list(self.table)).items(), key=lambda meaning: meaning[1][0]):
            if len({_SLICE.sub("", names[row]) for row in rows}) > 1:
                several = f"{len(rows)} images have that name, such as {names[rows[0]]!r} and {names[rows[-1]]!r}"
                self.refuse(f"{self.what} of {name!r}: {several}; write their folders too")
            for row in rows:
                before, other = best.setdefault(row, (rank, name))
                if rank == before and self.table[name] != self.table[other]:
                    self.refuse(f"{other!r} and {name!r} mean one image, {names[row]!r}, and differ in {self.what}; keep one")
                if rank == before:
                    self.known.add(name)
        return {row: self.table[name] for row, (_, name) in sorted(best.items())}

    def refuse(self, problem: str) -> NoReturn:
        """Raise the error."""
        raise self.error(printable(f"{self.where}: {problem}"))


def _meanings(names: Sequence[str], wanted: Sequence[str]) -> dict[str, tuple[int, list[int]]]:
    """Each wanted name that means an image -> how well, and the rows of all that it means so well."""
    by_form: dict[str, list[str]] = defaultdict(list)
    for name in wanted:
        by_form[_form(name)].append(name)
    found: dict[str, tuple[int, list[int]]] = {}

    def means(name: str, rank: int, row: int) -> None:
        known = found.get(name, (_NONE, []))
        if rank < known[0]:
            found[name] = rank, [row]
        elif rank == known[0] and row not in known[1][-1:]:
            known[1].append(row)

    whole: dict[str, list[int]] = defaultdict(list)  # forms of whole names -> rows
    for row, own in enumerate(map(_form, names)):
        for form in _forms(own):
            whole[form].append(row)
            for end in _ends(form):
                rank = _OWN if end == own else _FILE if end == _SLICE.sub("", own) else _END
                for name in by_form.get(end, ()):
                    means(name, rank, row)
    for name in wanted:
        if name not in found:
            longest = next((end for end in _ends(_form(name)) if end in whole), None)
            for row in whole[longest] if longest else ():
                means(name, _BEYOND, row)
    return found


def _form(name: str) -> str:
    """The name as collections have it, with slashes."""
    return printable(name).replace("\\", "/").strip().strip("/")


def _forms(name: str) -> Iterator[str]:
    """The name, that of its file, and both without suffix, each once."""
    file = _SLICE.sub("", name)
    suffix = max((each for each in SUFFIXES if file.lower().endswith(each)), key=len, default="")
    bare = file[: len(file) - len(suffix)]
    yield from dict.fromkeys((name, file, bare, bare + name[len(file) :]))


def _ends(path: str) -> Iterator[str]:
    """``a/b/c``, ``b/c``, ``c``."""
    while path:
        yield path
        path = path.partition("/")[2]
