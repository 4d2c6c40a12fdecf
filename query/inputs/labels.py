"""Labels: real images that are known to be used or not used."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from query.inputs.names import matched
from query.inputs.tables import AS_FOUND, IMAGE, Column, TableError, TableForm, read_sheet, read_values

_WORDS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "used", "member"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "unused", "not used", "non-member"), False),
}
USED = Column("used", ("isused", "wasused", "label", "labels", "member", "membership"), "1 or 0, true or false, yes or no")


class LabelsError(TableError):
    """Labels cannot be used; the message is one line that names the file and the mend."""


class Placed(Protocol):
    """Images that lie in files, indexed or not."""

    @property
    def names(self) -> Sequence[str]:
        """(n,) of the images."""

    def path(self, row: int) -> Path:
        """The file of an image."""


def read_labels(path: Path, form: TableForm = AS_FOUND) -> dict[str, bool]:
    """Labels from a CSV with columns for the image and whether it was used: image name -> used.

    Args:
        path: see `query.inputs.tables`; columns ``image`` and ``used`` or other words for them, or two columns without a header.
            An empty cell says nothing.
        form: how it is written, where that is not to be found out.

    Raises:
        LabelsError: the file cannot be read, lacks a column or labels, holds a value that is none, or two labels for an image.
    """
    bare = lambda cells: len(cells) == 2 and _word(cells[1]) in _WORDS  # noqa: E731
    sheet = read_sheet(path, (IMAGE, USED), form, LabelsError, bare)
    return read_values(sheet, (IMAGE, USED), _used)


def labels_by_row(names: Sequence[str], labels: Mapping[str, bool]) -> dict[int, bool]:
    """Row of each labelled real image -> whether it was used.

    Raises:
        LabelsError: see `query.inputs.names.matched`.
    """
    (found,) = matched([names], labels, "label", LabelsError)
    return found


def labels_of_folders(
    real: Placed, known: Mapping[str, bool], used: Path | None, unused: Path | None, all_used: bool = False
) -> dict[int, bool]:
    """Row -> whether it was used, of the images that are known by name, and of those that lie in a folder.

    Args:
        real: the real images.
        known: name -> whether it was used.
        used, unused: folders of images that were used, and that were not.
        all_used: all others were used too.

    Raises:
        LabelsError: an image lies in both folders, or what is known says otherwise or names no real image.
    """
    labels = labels_by_row(real.names, known)
    for folder, label in ((used, True), (unused, False)):
        for row in [row for row in range(len(real.names)) if folder and real.path(row).is_relative_to(folder.absolute())]:
            if labels.setdefault(row, label) != label:
                raise LabelsError(f"{real.names[row]} is said to be used and not to be used; say one of both")
    return {row: labels.get(row, True) for row in range(len(real.names))} if all_used else labels


def _used(cell: str) -> bool:
    """Raises ValueError for a cell that says neither."""
    if _word(cell) not in _WORDS:
        raise ValueError("write 1 or 0 (or true, false, yes, no; nothing where it is unknown)")
    return _WORDS[_word(cell)]


def _word(cell: str) -> str:
    """``True`` as ``true``, ``1.0`` and ``1,0`` as ``1``."""
    word = cell.strip().casefold()
    return re.sub(r"[.,]0*$", "", word) if re.fullmatch(r"[01][.,]0*", word) else word
