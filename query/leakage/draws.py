"""Draws of real images by patient: of either side equally many patients, with equally many images each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class RealGroups:
    """Which real images belong together: (nt,) and (nh,) group numbers, no number on both sides."""

    training: Rows
    hold_out: Rows

    @property
    def both(self) -> Rows:
        """(nt + nh,) of training images, then of hold-out images."""
        return np.concatenate([self.training, self.hold_out])


@dataclass(frozen=True)
class Part:
    """Rows that are compared together: all of them, or one fold after a filter."""

    generated: Rows
    training: Rows
    hold_out: Rows


def whole(generated: int, groups: RealGroups) -> list[Part]:
    """All images as one part."""
    return [Part(*(np.arange(size) for size in (generated, len(groups.training), len(groups.hold_out))))]


def half(groups: Rows, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(n,) bool: a random half of the groups."""
    names = np.unique(groups)
    return np.isin(groups, rng.permutation(names)[: (len(names) + 1) // 2])


def alike(first: Rows, second: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Places of images of both sides, drawn so that both have the same numbers of images by patient.

    As many patients of each side as the smaller side has are drawn and paired by their numbers of images, largest with largest;
    of each pair as many random images are taken as the one with fewer has. So no side is ahead by having more patients, or more
    images of one: ten slices of one patient are seldom the nearest image ten times.

    Args:
        first, second: (n,) groups of the images of either side.
    """
    count = min(len(np.unique(first)), len(np.unique(second)))
    ordered = _Ordered.of(first, count, rng), _Ordered.of(second, count, rng)
    sizes = np.minimum(*(side.sizes for side in ordered))
    one, two = (side.take(sizes) for side in ordered)
    return one, two


def like(sizes: Sequence[int], groups: Rows, rng: np.random.Generator) -> Rows:
    """Places of images of one side, drawn as a side is made up that has patients of these numbers of images.

    Patients are drawn and paired as in `alike`. Images that the paired patients lack are taken from patients who are left over,
    one after the other: more patients come nearer to a generated image than fewer with as many images do, never less near.
    """
    wanted = np.sort(np.asarray(sizes, np.int64))[::-1]
    side = _Ordered.of(groups, len(wanted), rng)
    taken = side.take(np.minimum(side.sizes, wanted[: len(side.sizes)]))
    others = rng.permutation(np.flatnonzero(~np.isin(groups, groups[taken])))
    return np.sort(np.concatenate([taken, others[: int(wanted.sum()) - len(taken)]]))


@dataclass(frozen=True)
class _Ordered:
    """Drawn patients of one side, those with most images first.

    Attributes:
        sizes: (k,) images of each.
        place: (n,) of each image's patient among them; k where it was not drawn.
        turn: (n,) random order of an image among those of its patient, from 0.
    """

    sizes: Rows
    place: Rows
    turn: Rows

    @classmethod
    def of(cls, groups: Rows, count: int, rng: np.random.Generator) -> "_Ordered":
        names, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        drawn = rng.permutation(len(names))[:count]
        drawn = drawn[np.argsort(-sizes[drawn], kind="stable")]
        place = np.full(len(names), len(drawn))
        place[drawn] = np.arange(len(drawn))
        order = np.lexsort((rng.random(len(groups)), number))
        turn = np.empty(len(groups), np.int64)
        turn[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return cls(sizes[drawn], place[number], turn)

    def take(self, sizes: Rows) -> Rows:
        """Places of the first `sizes` images of each patient."""
        return np.flatnonzero(self.turn < np.append(sizes, 0)[self.place])


def beside_others(distances: NDArray[np.floating[Any]], place: int) -> NDArray[np.floating[Any]]:
    """(ng, np) distances to patients, infinite where unknown -> that to the `place`-th nearest of the other patients, for each.

    Of fewer other patients the last counts. In a row without two known patients nothing is said of use.
    """
    count = min(place + 1, distances.shape[1])
    nearest = np.partition(distances, np.arange(count), axis=1)[:, :count]
    known = np.isfinite(nearest).sum(axis=1, keepdims=True)
    last, before = (np.take_along_axis(nearest, np.maximum(known - back, 0), 1) for back in (1, 2))
    return np.where(distances <= before, last, before)
