"""Groups: which images belong to one patient, series or volume: given, read from DICOM files or folders, or near-duplicates.

Splits, resamples and permutations go by group, so that no patient is on two sides. Slices of one file (a volume) belong together
whoever gives the groups; pictures in an array, an archive or a table do not. Any other image without a group is one by itself.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embeddings.images.containers.names import is_container
from embeddings.images.errors import ImageError, printable
from embeddings.pipeline import in_order
from embeddings.types import GreyImage
from indexer.manifest import CollectionError
from indexer.salt import Salt
from query.inputs.images import Images
from query.inputs.names import matched
from query.inputs.near_duplicates import near_duplicate_groups, thumbnail
from query.inputs.tables import AS_FOUND, IMAGE, Column, TableError, TableForm, read_sheet, read_values
from query.text import many

DUPLICATES = "near-duplicates"  # what the group of images begins with that nobody but their likeness put together
ONE_FILE = "file"  # what the group of slices begins with that nobody put together but the file that they are of
DICOM, FOLDER = "dicom", "folder"
GROUP = Column(
    "group", ("groups", "patientid", "patient", "subjectid", "subject", "participantid", "caseid", "case"), "patients or the like"
)
TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xls")  # no pattern ends like this: a missing file is told as missing


class GroupsError(TableError):
    """Groups cannot be had as asked; the message is one line that names the file or pattern."""


class Grouped(Protocol):
    """A set of images whose groups are asked for: `Images`, or a collection."""

    @property
    def names(self) -> Sequence[str]:
        """(n,) of the images."""

    @property
    def patients(self) -> Sequence[str]:
        """(n,) hashed, see `indexer.collection.Collection.patients`."""

    @property
    def digests(self) -> Sequence[str]:
        """(n,) see `indexer.collection.Collection.digests`."""

    @property
    def salt(self) -> Salt:
        """What folders are hashed with."""


Given = Callable[..., Sequence[Mapping[str, str]]]  # of sets of images, `Grouped`: for each, name of an image -> group


@dataclass(frozen=True)
class Groups:
    """Which real images belong together.

    Attributes:
        of_row: (nr,) a group for each real image.
        known: somebody gave them, or the files name them; else they are near-duplicates.
        named: row of an image -> its group, for the database; an image by itself has none.
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


def groups_from_csv(path: Path, form: TableForm = AS_FOUND) -> dict[str, str]:
    """Image -> group, from a CSV with columns for the image and its group, such as a patient.

    Args:
        path: see `query.inputs.tables`; columns ``image`` and ``group`` or other words for them. An image with an empty cell
            has no group. A name that is not valid UTF-8 keeps Python's surrogate escapes, as in `embeddings.images.find.Source`.
        form: how it is written, where that is not to be found out.

    Raises:
        GroupsError: the file cannot be read, lacks a column or groups, has a row without image, or an image in two groups.
    """
    return read_values(read_sheet(path, (IMAGE, GROUP), form, GroupsError), (IMAGE, GROUP), str)


def read_groups(source: str, form: TableForm = AS_FOUND) -> Given:
    """How groups are given: by a CSV file, by a regular expression on names, or as ``dicom`` or ``folder``.

    Mistakes in a file or an expression are told now, before any image is looked at.

    Args:
        source: ``dicom`` takes PatientID, else SeriesInstanceUID of each file; ``folder`` the folder that a file lies in.
        form: how a CSV file is written, where that is not to be found out.

    Returns:
        A function of one or more sets of images, such as collections: for each, name of an image -> its group, of those that
        have one.

    Raises:
        GroupsError: it is neither; what does not fit the images is told when they are there.
    """
    if source == DICOM:
        return groups_from_dicom
    if source == FOLDER:
        return groups_from_folders
    if source.lower().endswith(TABLES) or Path(source).is_file():
        return groups_from_table(groups_from_csv(Path(source), form))
    groups_from_pattern([], source)

    def by_pattern(*sets: Grouped) -> Sequence[Mapping[str, str]]:
        matched = groups_from_pattern([name for images in sets for name in images.names], source)
        return [{name: matched[name] for name in images.names} for images in sets]

    return by_pattern


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


def groups_from_table(table: Mapping[str, str]) -> Given:
    """Groups by name of an image; names mean images as `query.inputs.names` has it."""

    def by_table(*sets: Grouped) -> Sequence[Mapping[str, str]]:
        found = matched([images.names for images in sets], table, "group", GroupsError)
        return [{images.names[row]: group for row, group in of_set.items()} for images, of_set in zip(sets, found, strict=True)]

    return by_table


def groups_from_dicom(*sets: Grouped) -> list[dict[str, str]]:
    """For each set, name of an image -> hashed PatientID, else SeriesInstanceUID, of those whose files have one.

    Raises:
        GroupsError: no file has one, or all have the same.
    """
    found = [_placed(images.names, images.patients) for images in sets]
    values = {group for of_set in found for group in of_set.values()}
    other = "name the groups by --groups folder, a regular expression or a CSV"
    if not values:
        raise GroupsError(f"groups by dicom: no file has a PatientID or SeriesInstanceUID; {other}")
    if len(values) == 1 and sum(map(len, found)) > 1:
        raise GroupsError(f"groups by dicom: all files name the same patient, as after de-identification; {other}")
    return found


def groups_from_folders(*sets: Grouped) -> list[dict[str, str]]:
    """For each set, name of an image -> hashed folder that its file lies in, relative to the folder that all lie in.

    An image beside the folders has none. Of an image in an archive the folder in the archive counts, where there is one.

    Raises:
        GroupsError: all images lie in one folder.
    """
    salt = sets[0].salt  # one for all sets, so that their folders compare
    folders = [[folder_of(name) for name in images.names] for images in sets]
    if len({folder for of_set in folders for folder in of_set}) < 2:
        other = "name the groups by a regular expression or a CSV"
        raise GroupsError(f"groups by folder: all images lie in one folder; {other}")
    return [
        _placed(images.names, [salt.hashed("folder", folder) if folder else "" for folder in of_set])
        for images, of_set in zip(sets, folders, strict=True)
    ]


def folder_of(name: str) -> str:
    """The folder of an image by its name; files of many pictures are no folders, but folders in archives are.

    ``p1/a.png`` and ``p1/a.zip/x.png`` lie in ``p1``, ``a.zip/p1/x.png`` in ``a.zip/p1``, ``a.zip/x.png`` in none.
    """
    parts = PurePosixPath(name).parts[:-1]
    if parts and is_container(parts[-1]):
        parts = parts[:-1]
    return "/".join(parts)


def _placed(names: Sequence[str], groups: Sequence[str]) -> dict[str, str]:
    return {name: group for name, group in zip(names, groups, strict=True) if group}


def group(grouping: Given | None, real: Images) -> Groups:
    """The groups of the real images: those given, or near-duplicates.

    Groups of rows are named by the contents of their images, so that nothing that is drawn by them depends on the order or the
    names of files.

    Raises:
        CollectionError: a real image is not there any more, or not what it was.
        GroupsError: groups cannot be had as asked.
    """
    if grouping is not None:
        return given_groups(grouping, real)
    try:
        images = list(in_order(partial(_thumbnail, real), range(len(real))))
    except ImageError as error:
        raise CollectionError(f"a real image changed meanwhile ({error}); run it again") from error
    numbers = near_duplicate_groups(images)
    sizes = np.bincount(numbers)
    named = {row: f"{DUPLICATES} {number}" for row, number in enumerate(numbers.tolist()) if sizes[number] > 1}
    of_row = by_content(numbers, real.digests)
    return Groups(of_row, known=False, named=_whole(named, of_row, real.names))


def given_groups(grouping: Given | None, real: Images) -> Groups:
    """The groups as given; without any, only slices of one file belong together.

    Raises:
        GroupsError: see `group`.
    """
    named = groups_by_row(grouping, real) if grouping else {}
    given = [f"group: {named[row]}" if row in named else f"alone: {name}" for row, name in enumerate(real.names)]
    of_row = by_content(np.array(given, str), real.digests)
    return Groups(of_row, known=grouping is not None, named=_whole(named, of_row, real.names))


def groups_by_row(grouping: Given, real: Grouped) -> dict[int, str]:
    """Row of each real image that has a group -> its group.

    Raises:
        GroupsError: groups cannot be had as asked.
    """
    (by_name,) = grouping(real)
    return {row: by_name[name] for row, name in enumerate(real.names) if name in by_name}


def _whole(named: Mapping[int, str], of_row: NDArray[np.str_], names: Sequence[str]) -> dict[int, str]:
    """Names of groups by row, for every row of a group: the first of its names; that of the file, where slices have none."""
    members: dict[str, list[int]] = {}
    for row, group in enumerate(of_row.tolist()):
        members.setdefault(group, []).append(row)
    whole: dict[int, str] = {}
    for rows in members.values():
        given = sorted({named[row] for row in rows if row in named})
        if given or len(rows) > 1:
            first = names[rows[0]]
            whole |= dict.fromkeys(rows, given[0] if given else f"{ONE_FILE} {first.rpartition('#')[0] or first}")
    return dict(sorted(whole.items()))


def by_content(groups: NDArray[np.generic], digests: Sequence[str]) -> NDArray[np.str_]:
    """(n,) each group by the smallest content hash among its images; groups that share a content are one.

    Args:
        groups: (n,) of each image.
        digests: (n,) see `indexer.collection.Collection.digests`.
    """
    contents, content = np.unique(np.array(digests, str), return_inverse=True)
    names, member = np.unique(groups, return_inverse=True)
    size = len(contents) + len(names)
    graph = coo_array((np.ones(len(groups), bool), (content, member + len(contents))), shape=(size, size))
    component = connected_components(graph, directed=False)[1][content]
    smallest = np.full(size, len(contents))
    np.minimum.at(smallest, component, content)
    return np.asarray(contents[smallest[component]])


def _thumbnail(images: Images, row: int) -> GreyImage:
    return thumbnail(images.read(row))
