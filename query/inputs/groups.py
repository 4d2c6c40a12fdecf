"""Groups: which images belong to one patient, series or volume, from a CSV, a name pattern, or near-duplicates.

Splits, resamples and permutations go by group, so that no patient is on two sides. An image that a table or pattern does not
place is a group by itself.
"""

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embeddings.errors import SynthtraceError
from embeddings.files.spreadsheet import unescaped
from embeddings.images.errors import ImageError, printable
from embeddings.pipeline import in_order
from embeddings.types import GreyImage
from indexer.manifest import CollectionError
from query.inputs.images import Images
from query.inputs.labels import rows_of
from query.inputs.near_duplicates import near_duplicate_groups, thumbnail
from query.text import many

DUPLICATES = "near-duplicates"  # what the group of images begins with that nobody but their likeness put together
Given = Callable[[Sequence[str]], Mapping[str, str]]  # see `query.inputs.groups.read_groups`


class GroupsError(SynthtraceError):
    """Groups cannot be read as asked; the message is one line and names the file or pattern."""


@dataclass(frozen=True)
class Groups:
    """Which real images belong together.

    Attributes:
        of_row: (nr,) a group for each real image.
        known: somebody gave them; else they are near-duplicates.
        named: row of an image -> its group, for the database; near-duplicates of nothing have none.
    """

    of_row: NDArray[Any]
    known: bool
    named: Mapping[int, str] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """One sentence for readers of intervals."""
        count = many(len(np.unique(self.of_row)), "group")
        if self.known:
            return f"{count}, as given."
        return f"Patients are unknown: near-duplicates were grouped, {count}."


def groups_from_csv(path: Path) -> dict[str, str]:
    """Image -> group, from a CSV file with the columns ``image`` and ``group``, escaped or not; others are ignored.

    Args:
        path: UTF-8, with or without byte order mark. Images are named as the file names them; a name that is not valid UTF-8
            keeps Python's surrogate escapes, as in `embeddings.images.find.Source`.

    Raises:
        GroupsError: the file cannot be read, lacks a column or rows, has a row without image or group, or an image in two groups.
    """
    groups: dict[str, str] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = csv.DictReader(file, strict=True)
            for column in ("image", "group"):
                if column not in (rows.fieldnames or ()):
                    raise GroupsError(f"{path}: no column '{column}'; needed are image,group")
            for row in rows:
                image, group = (unescaped(row[column] or "") for column in ("image", "group"))
                if not image or not group:
                    raise GroupsError(f"{path}, line {rows.line_num}: image and group must both be filled in")
                if groups.setdefault(image, group) != group:
                    both = f"'{groups[image]}' and '{group}'"
                    raise GroupsError(printable(f"{path}, line {rows.line_num}: '{image}' is in two groups, {both}"))
    except OSError as error:
        raise GroupsError(f"{path}: {error.strerror}") from error
    except csv.Error as error:
        raise GroupsError(f"{path}: not a CSV file ({error})") from error
    if not groups:
        raise GroupsError(f"{path}: no rows under the header")
    return groups


def read_groups(source: str) -> Callable[[Sequence[str]], dict[str, str]]:
    """What a person gave as groups, a CSV file or a regular expression: names of images -> group of each that has one.

    Mistakes in it are told now, before any image is looked at.

    Raises:
        GroupsError: it is neither; a pattern that matches no name is told when the names are there.
    """
    if source.lower().endswith(".csv") or Path(source).is_file():
        table = groups_from_csv(Path(source))
        return lambda names: table
    groups_from_pattern([], source)
    return lambda names: groups_from_pattern(names, source)


def groups_from_pattern(names: Iterable[str], regex: str) -> dict[str, str]:
    """Name -> group, by a regular expression that is searched anywhere in each name.

    Args:
        names: of images, relative paths as a rule.
        regex: its first capture group is the group, or the whole match where it has none: ``patient(\\d+)`` or ``^[^/]+``.

    Returns:
        Every name. One that does not match, or whose group comes out empty, is its own group under its own name.

    Raises:
        GroupsError: not a regular expression, or there are names and none of them matches.
    """
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise GroupsError(f"groups by pattern '{regex}': not a regular expression: {error}") from error
    matches = {name: pattern.search(name) for name in names}
    if matches and not any(matches.values()):
        raise GroupsError(printable(f"groups by pattern '{regex}': matches no name, for example not '{next(iter(matches))}'"))
    taken = 1 if pattern.groups else 0
    return {name: (match[taken] if match else None) or name for name, match in matches.items()}


def group(grouping: Given | None, real: Images) -> Groups:
    """The groups of the real images: those given, or near-duplicates.

    Groups of rows are named by the contents of their images, so that nothing that is drawn by them depends on the order or the
    names of files.

    Raises:
        CollectionError: a real image is not there any more, or not what it was.
        LabelsError: a group is given for an image that is not there.
    """
    if grouping is not None:
        named = groups_by_row(grouping, real.names)
        of_row = np.array([f"alone: {name}" for name in real.names], object)
        for row, name in named.items():
            of_row[row] = f"group: {name}"
        return Groups(by_content(of_row.astype(str), real), known=True, named=named)
    try:
        images = list(in_order(partial(_thumbnail, real), range(len(real))))
    except ImageError as error:
        raise CollectionError(f"a real image changed meanwhile ({error}); run it again") from error
    numbers = near_duplicate_groups(images)
    sizes = np.bincount(numbers)
    named = {row: f"{DUPLICATES} {number}" for row, number in enumerate(numbers.tolist()) if sizes[number] > 1}
    return Groups(by_content(numbers, real), known=False, named=named)


def groups_by_row(grouping: Given, names: Sequence[str]) -> dict[int, str]:
    """Row of each real image that has a group -> its group.

    Raises:
        LabelsError: a group is given for an image that is not there.
        GroupsError: a pattern matches no name.
    """
    by_name = grouping(names)
    return {row: by_name[name] for name, row in rows_of(names, by_name, "group").items()}


def by_content(groups: NDArray[np.generic], real: Images) -> NDArray[np.str_]:
    """(nr,) each group by the smallest content hash among its images; groups that share a content are one."""
    contents, content = np.unique(np.array(real.digests, str), return_inverse=True)
    names, member = np.unique(groups, return_inverse=True)
    size = len(contents) + len(names)
    graph = coo_array((np.ones(len(groups), bool), (content, member + len(contents))), shape=(size, size))
    component = connected_components(graph, directed=False)[1][content]
    smallest = np.full(size, len(contents))
    np.minimum.at(smallest, component, content)
    return np.asarray(contents[smallest[component]])


def _thumbnail(images: Images, row: int) -> GreyImage:
    return thumbnail(images.read(row))
