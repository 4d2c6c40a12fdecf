"""Find near-duplicates among images; they stand in for patients when those are unknown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embeddings.images.orientation import Orientation
from embeddings.types import GreyImage

THRESHOLD = 0.98  # of the correlation of two thumbnails
_SIDE = 64  # of a thumbnail
_BLANK_SPREAD = 1.0  # grey levels; below, noise and rounding decide the correlation
_BLOCK = 512  # rows of thumbnails compared at a time: bounds memory, also where all images are alike
_ROUNDING = 1e-5  # of correlations in float32, at most 5e-6 seen: without it, a copy would miss a threshold of 1


def thumbnail(image: GreyImage) -> GreyImage:
    """(64, 64) uint8 version of an image by area averages; an image of that size as it is."""
    return np.asarray(Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BOX))


def near_duplicate_groups(images: Iterable[GreyImage], threshold: float = THRESHOLD) -> NDArray[np.int64]:
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
    _check(threshold)
    rows = _standardised([thumbnail(image) for image in images])
    labels = np.arange(len(rows))
    for top in range(0, len(rows), _BLOCK):
        for left in range(top, len(rows), _BLOCK):
            alike = rows[top : top + _BLOCK] @ rows[left : left + _BLOCK].T >= threshold - _ROUNDING
            first, second = np.nonzero(alike)
            labels = _joined(labels, labels[top + first], labels[left + second])
    return labels


@dataclass(frozen=True)
class Nearest:
    """The most alike of other images, for each image.

    Attributes:
        row: (n,) of the other images; -1 where none is alike.
        correlation: (n,) of the thumbnails; NaN where none is alike.
        orientation: (n,) index into `Orientation` of how the image was turned or flipped.
    """

    row: NDArray[np.int64]
    correlation: NDArray[np.float64]
    orientation: NDArray[np.int64]


def nearest_alike(images: NDArray[np.uint8], others: NDArray[np.uint8], threshold: float = THRESHOLD) -> Nearest:
    """For each image the other one whose thumbnail correlates most with its own, in any of the eight orientations.

    Every pair is compared eight times: 650 with 650 images take two seconds of processor time. Blank images are like nothing.

    Args:
        images, others: (n, 64, 64) and (m, 64, 64) uint8, from `thumbnail`.
        threshold: see `near_duplicate_groups`.

    Raises:
        ValueError: threshold is out of range.
    """
    _check(threshold)
    best = np.full(len(images), threshold - _ROUNDING, np.float32)
    row, orientation = np.full(len(images), -1, np.int64), np.zeros(len(images), np.int64)
    places = np.arange(_SIDE * _SIDE).reshape(_SIDE, _SIDE)
    for top in range(0, len(images), _BLOCK):
        part = slice(top, top + _BLOCK)
        plain = _standardised(images[part])
        for left in range(0, len(others), _BLOCK):
            columns = _standardised(others[left : left + _BLOCK]).T
            for number, turned in enumerate(Orientation):
                correlations = plain[:, turned.apply(places).ravel()] @ columns
                nearest = correlations.argmax(axis=1)
                found = correlations[np.arange(len(nearest)), nearest]
                better = np.flatnonzero(found > best[part])
                at = better + top
                best[at], row[at], orientation[at] = found[better], nearest[better] + left, number
    return Nearest(row, np.where(row < 0, np.nan, np.minimum(best, 1)).astype(np.float64), orientation)


def _check(threshold: float) -> None:
    if not _ROUNDING < threshold <= 1:  # blank rows correlate 0 with all
        raise ValueError(f"threshold must be above {_ROUNDING} and at most 1, got {threshold}")


def _standardised(thumbnails: Sequence[GreyImage] | NDArray[np.uint8]) -> NDArray[np.float32]:
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
