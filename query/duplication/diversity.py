"""Diversity of a set: effective number of images, distance to the nearest other, share of images that are duplicates.

All three depend on the number of images: of more images each has a nearer neighbour. So they are estimated for a number of
images `m`, at most half of what there is, and sets are compared at the same number.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec, Metric
from indexer.search import brute_force
from query.duplication.candidates import nearest
from query.duplication.pool import Rows
from query.evaluation.resampling import LEVEL, Estimate

DRAWS = 100  # subsamples
_NEIGHBOURS = 32  # of an image that are kept: one of them is in nearly every subsample of half the images
_FEWEST = 4  # groups (patients, or images) that an interval needs


class Figure(StrEnum):
    """What is measured of a set."""

    VENDI = "vendi"  # effective number of different images, 1 to m (Friedman and Dieng, TMLR 2023)
    NEAREST = "nearest"  # mean distance to the nearest other image, in the unit of the view
    DUPLICATES = "duplicates"  # share of images with a duplicate among the others


@dataclass(frozen=True)
class Diversity:
    """A figure of a set.

    Attributes:
        figure: which.
        view: whose vectors; empty for duplicates.
        whole: of all images.
        images: number of images that `estimate` and `baseline` are for.
        estimate: what so many images of this kind have, with an interval of 95%.
        baseline: the same of a set to compare with; None without one.
    """

    figure: Figure
    view: str
    whole: float
    images: int
    estimate: Estimate
    baseline: Estimate | None = None


def vendi(vectors: NDArray[np.float32]) -> float:
    """Vendi score: exp of the entropy of the eigenvalues of K / n, K the cosines of n vectors (Friedman and Dieng, TMLR 2023).

    The score is 1 where all are equal, and n where all are at right angles. Eigenvalues other than 0 are those of X'X / n too,
    which is smaller where vectors are shorter than they are many (`score_dual` of the authors' package vendi-score).

    Args:
        vectors: (n, d) of length 1, n > 0.
    """
    rows = np.asarray(vectors, np.float64)
    small = rows.T @ rows if rows.shape[1] < len(rows) else rows @ rows.T
    values = np.linalg.eigvalsh(small / len(rows))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def unit_vectors(spec: EmbeddingSpec, vectors: NDArray[Any]) -> NDArray[np.float32]:
    """(n, d) of length 1, whose products are cosines; of hashes each bit counts as -1 or 1."""
    if spec.metric is Metric.COSINE:
        return np.asarray(vectors, np.float32)
    bits = np.unpackbits(np.ascontiguousarray(vectors).view(np.uint8), axis=1).astype(np.float32)
    return np.asarray((2 * bits - 1) / np.sqrt(bits.shape[1]), np.float32)


@dataclass(frozen=True, eq=False)
class Vectors:
    """What a view makes of n images.

    Attributes:
        spec: how vectors are compared.
        values: (n, width), see `embeddings.types.Embeddings.vectors`.
        seen: (n,) bool, images that are not blank in this view; others do not count.
    """

    spec: EmbeddingSpec
    values: NDArray[Any]
    seen: NDArray[np.bool_]


class _View:
    """Figures of subsets of the images that a view sees: vectors of length 1, nearest others and distances to these."""

    def __init__(self, of: Vectors) -> None:
        self.spec, self.vectors, self.seen = of.spec, of.values, of.seen
        self.units = unit_vectors(of.spec, of.values)
        own = np.arange(len(of.values))
        self.near, self.distances = nearest(of.spec, (of.values, of.values), own, of.seen, _NEIGHBOURS)

    def vendi(self, rows: Rows) -> float:
        rows = rows[self.seen[rows]]
        return vendi(self.units[rows]) if len(rows) else float("nan")

    def nearest(self, rows: Rows) -> float:
        """Mean distance of these images to the nearest one of them."""
        rows = rows[self.seen[rows]]
        if len(rows) < 2:
            return float("nan")
        there = np.zeros(len(self.seen), bool)
        there[rows] = True
        inside = there[self.near[rows]] & (self.near[rows] >= 0)
        found = self.distances[rows, inside.argmax(axis=1)].astype(np.float64)
        for place in np.flatnonzero(~inside.any(axis=1)):  # none of those kept
            row = rows[place]
            others = rows[rows != row]
            found[place] = brute_force.distances(self.spec.metric, self.vectors[[row]], self.vectors[others]).min()
        return float(found.mean())


def diversity(
    views: Mapping[str, Vectors], patients: NDArray[np.str_], member: Rows, images: int, seed: int = 0
) -> list[Diversity]:
    """Every figure of n images by every view.

    The estimate is the mean over subsamples of `images` images, drawn without replacement and whole patients at a time where
    patients are known; so it has no bias for a set of that size. (A bootstrap would repeat images, and duplicates are what is
    counted; the Vendi score of all images grows with their number: Ospanov and Farnia, UAI 2025.) Its interval is the value
    +- t standard errors, from the spread of the subsamples (delete-d jackknife, Shao and Wu, Annals of Statistics 1989), and
    tells where it would lie for other images, or patients, of the same kind.

    Args:
        views: name -> the vectors of the n images.
        patients: (n,) patient of each image; empty where nobody named one.
        member: (n,) number of the group of duplicates of each image; -1 for none.
        images: of a subsample, see `subsample_size`.
        seed: of the draws.
    """
    draws = list(_draws(patients, images, seed))
    groups = len(np.unique(patients[patients != ""])) + int((patients == "").sum())
    found = []

    def add(figure: Figure, view: str, of: Any) -> None:
        estimate = _estimate(np.array([of(rows) for rows in draws]), groups, images / len(member), figure)
        found.append(Diversity(figure, view, of(np.arange(len(member))), images, estimate))

    for name, vectors in views.items():
        view = _View(vectors)
        add(Figure.VENDI, name, view.vendi)
        add(Figure.NEAREST, name, view.nearest)
    add(Figure.DUPLICATES, "", lambda rows: _share(member[rows]))
    return found


def subsample_size(*counts: int) -> int:
    """Images of a subsample for sets of these numbers of images: half of the smallest."""
    return max(1, min(counts) // 2)


def _share(member: Rows) -> float:
    """Share of images whose group has another image among these."""
    known = member[member >= 0]
    sizes = np.bincount(known) if len(known) else np.zeros(1, np.int64)
    return float(sizes[sizes > 1].sum() / len(member)) if len(member) else float("nan")


def _draws(patients: NDArray[np.str_], images: int, seed: int) -> Iterator[Rows]:
    """Places of each subsample: whole patients in random order, until there are enough images."""
    alone = np.array([f"{number}" for number in range(len(patients))])
    _, number = np.unique(np.where(patients == "", np.char.add("alone ", alone), patients), return_inverse=True)
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        order = np.lexsort((rng.random(len(number)), rng.permutation(number.max() + 1)[number]))
        yield np.sort(order[:images])


def _estimate(values: NDArray[np.float64], groups: int, share: float, figure: Figure) -> Estimate:
    """Mean and interval from subsamples that hold a share of the images."""
    from scipy.stats import t

    known = values[np.isfinite(values)]
    value = float(known.mean()) if len(known) else float("nan")
    undefined = len(values) - len(known)
    if groups < _FEWEST or len(known) < len(values) / 2 or share >= 1:
        return Estimate(value, float("nan"), float("nan"), groups, undefined)
    error = float(known.std(ddof=1) * np.sqrt(share / (1 - share)))
    wide = float(t.ppf((1 + LEVEL) / 2, groups - 1)) * error
    low, high = max(value - wide, 0.0), value + wide
    if figure is Figure.DUPLICATES:
        high = 1 - ((1 - LEVEL) / 2) ** (1 / groups) if value == 0 else min(high, 1.0)
    return Estimate(value, low, high, groups, undefined)


def beside(figures: list[Diversity], others: list[Diversity]) -> list[Diversity]:
    """The figures of a set with those of another one as baseline."""
    by_key: Mapping[tuple[Figure, str], Estimate] = {(each.figure, each.view): each.estimate for each in others}
    return [
        Diversity(each.figure, each.view, each.whole, each.images, each.estimate, by_key.get((each.figure, each.view)))
        for each in figures
    ]
