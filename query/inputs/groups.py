"""Which images belong together: one patient, one series, one volume, or near-duplicates where nobody knows the patients.

Splits, resamples and permutations go by group, so that no patient is on two sides. An image that a table or pattern does not
place is a group by itself.
"""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embeddings.files.spreadsheet import unescaped
from embeddings.images.errors import printable
from embeddings.types import GreyImage

_SIDE = 64  # of a thumbnail
_BLANK_SPREAD = 1.0  # grey levels; below, noise and rounding decide the correlation
_BLOCK = 512  # rows of thumbnails compared at a time: bounds memory, also where all images are alike
_ROUNDING = 1e-5  # of correlations in float32, at most 5e-6 seen: without it, a copy would miss a threshold of 1


class GroupsError(Exception):
    """Groups cannot be read as asked; the message is one line and names the file or pattern."""


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


def read_groups(given: str) -> Callable[[Sequence[str]], dict[str, str]]:
    """What a person gave as groups, a CSV file or a regular expression: names of images -> group of each that has one.

    Mistakes in it are told now, before any image is looked at.

    Raises:
        GroupsError: it is neither; a pattern that matches no name is told when the names are there.
    """
    if given.lower().endswith(".csv") or Path(given).is_file():
        table = groups_from_csv(Path(given))
        return lambda names: table
    groups_from_pattern([], given)
    return lambda names: groups_from_pattern(names, given)


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
    found = {name: pattern.search(name) for name in names}
    if found and not any(found.values()):
        raise GroupsError(printable(f"groups by pattern '{regex}': matches no name, for example not '{next(iter(found))}'"))
    taken = 1 if pattern.groups else 0
    return {name: (match[taken] if match else None) or name for name, match in found.items()}


def thumbnail(image: GreyImage) -> GreyImage:
    """(64, 64) uint8 version of an image by area averages; an image of that size as it is."""
    return np.asarray(Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BOX))


def near_duplicate_groups(images: Iterable[GreyImage], threshold: float = 0.98) -> NDArray[np.int64]:
    """Groups of near-duplicates: the connected components of the pairs whose thumbnails correlate at least so much.

    Every pair is compared: time grows with the square of n. Memory is 20 KB an image.

    Args:
        images: n images of any sizes, or their thumbnails as (n, 64, 64) uint8.
        threshold: of Pearson's correlation of the pixels of two thumbnails, above 1e-5 and at most 1; held to within 1e-5.

    Returns:
        (n,) group numbers, counted from 0 in the order in which groups first appear. A blank image (standard deviation of the
        thumbnail below one grey level) is a group by itself.

    Raises:
        ValueError: threshold is out of range.
    """
    if not _ROUNDING < threshold <= 1:  # blank rows correlate 0 with all
        raise ValueError(f"threshold must be above {_ROUNDING} and at most 1, got {threshold}")
    rows = _standardised([thumbnail(image) for image in images])
    labels = np.arange(len(rows))
    for top in range(0, len(rows), _BLOCK):
        for left in range(top, len(rows), _BLOCK):
            alike = rows[top : top + _BLOCK] @ rows[left : left + _BLOCK].T >= threshold - _ROUNDING
            first, second = np.nonzero(alike)
            labels = _joined(labels, labels[top + first], labels[left + second])
    return labels


def _standardised(thumbnails: Sequence[GreyImage]) -> NDArray[np.float32]:
    """(n, 4096) rows of mean 0 and norm 1, whose dot products are correlations; blank ones are 0."""
    rows = np.zeros((len(thumbnails), _SIDE * _SIDE), np.float32)
    for row, image in zip(rows, thumbnails, strict=True):
        values = image.ravel() - image.mean()
        norm = np.linalg.norm(values)
        if norm >= _BLANK_SPREAD * _SIDE:
            row[:] = values / norm
    return rows


def _joined(labels: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """The labels after the groups `first[i]` and `second[i]` have become one, for every i.

    SciPy numbers components by their lowest member, so labels stay in order of first appearance.
    """
    if np.array_equal(first, second):
        return labels
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(labels), len(labels)))
    component: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return component[labels]
