"""Labels: real images that are known to be used or not used."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from embeddings.errors import SynthtraceError
from embeddings.files.spreadsheet import unescaped


class LabelsError(SynthtraceError):
    """A file of labels or groups cannot be used; the message is one line that names it."""


class Placed(Protocol):
    """Images that lie in files, indexed or not."""

    @property
    def names(self) -> Sequence[str]:
        """(n,) of the images."""

    def path(self, row: int) -> Path:
        """The file of an image."""


def read_labels(path: Path) -> dict[str, bool]:
    """Labels from a CSV with columns ``image`` and ``used`` (1 or 0, with or without header): image name -> used.

    Raises:
        LabelsError: the file cannot be read, a line is not of this form, or an image occurs twice.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelsError(f"{path}: cannot be read as a CSV of image,used: {error}") from error
    if lines and lines[0][:2] == ["image", "used"]:
        lines = lines[1:]
    labels: dict[str, bool] = {}
    for number, line in enumerate(lines, 1):
        if len(line) < 2 or line[1].strip() not in ("0", "1"):
            raise LabelsError(f"{path}: label {number} must be image,1 or image,0; got {','.join(line)!r}")
        image = unescaped(line[0])
        if image in labels:
            raise LabelsError(f"{path}: {image} has two labels; keep one")
        labels[image] = line[1].strip() == "1"
    return labels


def labels_by_row(names: Sequence[str], labels: Mapping[str, bool]) -> dict[int, bool]:
    """Row of each labelled real image -> whether it was used.

    Raises:
        LabelsError: see `rows_of`.
    """
    return {row: labels[name] for name, row in rows_of(names, labels, "label").items()}


def labels_of_folders(real: Placed, known: Mapping[str, bool], used: Path | None, unused: Path | None) -> dict[int, bool]:
    """Row -> whether it was used, of the images that are known by name, and of those that lie in a folder.

    Args:
        real: the real images.
        known: name -> whether it was used.
        used, unused: folders of images that were used, and that were not.

    Raises:
        LabelsError: an image lies in both folders, or what is known says otherwise or names no real image.
    """
    labels = labels_by_row(real.names, known)
    for folder, label in ((used, True), (unused, False)):
        for row in [row for row in range(len(real.names)) if folder and real.path(row).is_relative_to(folder.absolute())]:
            if labels.setdefault(row, label) != label:
                raise LabelsError(f"{real.names[row]} is said to be used and not to be used; say one of both")
    return labels


def rows_of(names: Sequence[str], named: Mapping[str, Any], what: str) -> dict[str, int]:
    """Row of each named real image; a name may lack its folder, and its suffix, as in the ImageCLEF task.

    Raises:
        LabelsError: a name that no real image has, or several have.
    """
    rows = {name: [row] for row, name in enumerate(names)}
    short: dict[str, list[int]] = {}
    for row, path in enumerate(map(PurePosixPath, names)):
        for form in {path.name, path.stem}:
            short.setdefault(form, []).append(row)
    rows_by_name = {name: rows.get(name) or short.get(name, []) for name in named}
    unknown = [name for name, of in rows_by_name.items() if not of]
    if unknown:
        raise LabelsError(f"a {what} is given for {unknown[0]}, but no real image has that name ({len(unknown)} such names)")
    several = [name for name, of in rows_by_name.items() if len(of) > 1]
    if several:
        count = len(rows_by_name[several[0]])
        raise LabelsError(f"a {what} is given for {several[0]}, but {count} real images have that name; write their folders too")
    return {name: of[0] for name, of in rows_by_name.items()}
