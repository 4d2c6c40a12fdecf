"""Subsets: which part of the real images each belongs to, such as a hospital, and from which a generated image comes."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from embeddings.images.errors import printable
from query.inputs.groups import FOLDER, TABLES
from query.inputs.names import matched
from query.inputs.tables import AS_FOUND, IMAGE, Column, TableError, TableForm, read_sheet, read_values
from query.text import many

SUBSET = Column(
    "subset", ("subsets", "predictedclass", "class", "label", "labels", "hospital", "site", "centre", "center"), "any text"
)
_NAMED = 5  # subsets named in a message

Subsets = Callable[[Sequence[str]], Mapping[int, str]]  # names of images -> row -> subset, of those that have one


class SubsetsError(TableError):
    """Subsets cannot be had as asked; the message is one line that names the file or pattern, and the mend."""


def read_subsets(source: str | Path | Mapping[str, str], form: TableForm = AS_FOUND) -> Subsets:
    """How subsets are given: by folders, by a CSV file, or by a regular expression on names.

    Mistakes in a file or an expression are told now, before any image is looked at.

    Args:
        source: ``folder`` takes the first folder of each name: ``t1/p7/a.png`` is of ``t1``. A CSV has columns ``image,subset``
            or other words for them (`query.inputs.tables`). Of a regular expression the first bracket counts, or all that it
            finds; an image that it does not find has no subset. Or name of an image -> subset.
        form: how a CSV is written, where that is not to be found out.

    Raises:
        SubsetsError: it is none of these.
    """
    if source == FOLDER:
        return _by_folder
    if isinstance(source, Mapping):
        return _by_table(source)
    if str(source).lower().endswith(TABLES) or Path(source).is_file():
        return _by_table(read_values(read_sheet(Path(source), (IMAGE, SUBSET), form, SubsetsError), (IMAGE, SUBSET), str))
    return _by_pattern(str(source))


def subsets_by_row(given: Subsets, names: Sequence[str]) -> dict[int, str]:
    """Row of each real image that has a subset -> its subset.

    Raises:
        SubsetsError: there are fewer than two subsets, or subsets cannot be had as asked.
    """
    found = dict(given(names))
    subsets = sorted(set(found.values()))
    if len(subsets) < 2:
        only = f"all real images are of one, {subsets[0]!r}" if subsets else f"no real image has one, such as {names[0]!r}"
        raise SubsetsError(printable(f"two subsets at least are needed: {only}; name a CSV of image,subset, or other folders"))
    return found


def origins_by_row(
    given: str | Path | Mapping[str, str], names: Sequence[str], subsets: Sequence[str], form: TableForm
) -> dict[int, str]:
    """Row of each generated image that is known to come from a subset -> that subset.

    Args:
        given: as `read_subsets`; ``folder`` takes a folder of the image's name that is called like a subset, wherever it stands.
        names: of the generated images.
        subsets: of the real images.
        form: see `read_subsets`.

    Raises:
        SubsetsError: a subset is none of the real images', no image has one, or they cannot be had as asked.
    """
    if given == FOLDER:
        folders = [set(PurePosixPath(name).parts[:-1]) & set(subsets) for name in names]
        found = {row: of.pop() for row, of in enumerate(folders) if len(of) == 1}
    else:
        found = dict(read_subsets(given, form)(names))
    known = ", ".join(subsets[:_NAMED]) + (", ..." if len(subsets) > _NAMED else "")
    for row, subset in found.items():
        if subset not in subsets:
            raise SubsetsError(
                printable(f"labels say that {names[row]!r} comes from {subset!r}; subsets of real images are {known}")
            )
    if not found:
        raise SubsetsError(printable(f"labels name no generated image, such as {names[0]!r}; subsets of real images are {known}"))
    return found


def without_subset(count: int, of: int) -> str:
    """A message on real images that have no subset."""
    return f"{many(count, 'real image')} of {of:,} without a subset: they take no part"


def _by_folder(names: Sequence[str]) -> dict[int, str]:
    parts = [PurePosixPath(name).parts for name in names]
    return {row: each[0] for row, each in enumerate(parts) if len(each) > 1}


def _by_table(table: Mapping[str, str]) -> Subsets:
    def by_table(names: Sequence[str]) -> Mapping[int, str]:
        (found,) = matched([names], table, "subset", SubsetsError)
        return found

    return by_table


def _by_pattern(regex: str) -> Subsets:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise SubsetsError(f"subsets by pattern '{regex}': not a regular expression: {error}") from error

    def by_pattern(names: Sequence[str]) -> dict[int, str]:
        matches = {row: pattern.search(name) for row, name in enumerate(names)}
        taken = 1 if pattern.groups else 0
        found = {row: match[taken] for row, match in matches.items() if match and match[taken]}
        if not found:
            raise SubsetsError(
                printable(f"subsets by pattern '{regex}': matches no name, for example not '{next(iter(names), '')}'")
            )
        return found

    return by_pattern
