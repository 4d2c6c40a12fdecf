"""Scores of an image from the distances to its nearest neighbours: pure functions."""

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from indexer.types import Neighbours

NEAR = 10  # neighbours that `mean_k` and `density` look at
_ROWS = 100_000  # images at a time: scores of a million would take several times their neighbours' memory


class Score(StrEnum):
    """Scores of one image in one view. Smaller means nearer, but for `margin` and `nearest_count`."""

    D1 = "d1"  # distance to the nearest
    MEAN_K = "mean_k"  # mean distance to the 10 nearest
    D1_D2 = "d1_d2"  # d1 / distance to the second: well below 1: one image stands out (Lowe, IJCV 2004; his ratio squared)
    D1_D50 = "d1_d50"  # d1 / distance to the fiftieth: the same against a wider neighbourhood
    MARGIN = "margin"  # distance to the second - d1, the same for distances that may be negative
    DENSITY = "density"  # d1 / mean distance of the 10 nearest to their own nearest: about 1 where the query lies among its like
    NEAREST_COUNT = "nearest_count"  # images of the other side that have this one as their nearest


def scores(found: Neighbours, blank: NDArray[np.bool_], ratios: bool) -> dict[Score, NDArray[np.float64]]:
    """Scores from (nq, k) neighbours, each (nq,) float64, NaN where one is not defined (too few neighbours, division by 0).

    Args:
        found: the neighbours.
        blank: (nq,), images in which the view saw nothing: their distances are no evidence, so they have no score.
        ratios: whether distances start at 0, so that their ratios have a sense; those of the combined view do not.
    """
    parts = []
    for start in range(0, max(1, len(blank)), _ROWS):
        here = slice(start, start + _ROWS)
        d = np.where(found.rows[here] >= 0, found.distances[here].astype(np.float64), np.nan)
        parts.append({name: np.where(blank[here], np.nan, values) for name, values in _of_distances(d, ratios).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _of_distances(d: NDArray[np.float64], ratios: bool) -> dict[Score, NDArray[np.float64]]:
    """From (n, k) distances, nearest first, NaN where there is no neighbour."""
    made = {Score.D1: d[:, 0], Score.MEAN_K: _mean(d[:, :NEAR])}
    second = d[:, 1] if d.shape[1] > 1 else np.full(len(d), np.nan)
    made[Score.MARGIN] = second - d[:, 0]
    if ratios:
        made[Score.D1_D2] = _ratio(d[:, 0], second)
        if d.shape[1] >= 50:
            made[Score.D1_D50] = _ratio(d[:, 0], d[:, 49])
    return made


def real_scores(
    to_generated: Neighbours,
    to_real: Neighbours,
    blank: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    own_nearest: Mapping[int, float] | None,
) -> dict[Score, NDArray[np.float64]]:
    """`scores` of real images, and those that need the generated side too.

    Args:
        to_generated, to_real: neighbours of real, and of generated images.
        blank: (nr,) and (ng,), real and generated images in which the view saw nothing.
        own_nearest: see `density`; None where distances have no ratios.
    """
    more = {Score.NEAREST_COUNT: nearest_counts(to_real, len(to_generated.rows), blank[1])}
    if own_nearest is not None:
        more[Score.DENSITY] = density(to_generated, own_nearest)
    found = scores(to_generated, blank[0], ratios=own_nearest is not None)
    return found | {name: np.where(blank[0], np.nan, values) for name, values in more.items()}


def density(found: Neighbours, own_nearest: Mapping[int, float]) -> NDArray[np.float64]:
    """Local density ratio, (nq,) float64: d1 over the mean distance of the 10 nearest rows to their own nearest neighbour.

    A simplified local outlier factor (Breunig et al., SIGMOD 2000).

    Args:
        found: (nq, k) neighbours.
        own_nearest: row -> distance to its nearest neighbour within its own collection.
    """
    near = found.rows[:, :NEAR]
    own = np.array([[own_nearest.get(int(row), np.nan) for row in rows] for rows in near]).reshape(near.shape)
    return _ratio(np.where(found.rows[:, 0] >= 0, found.distances[:, 0], np.nan), _mean(own))


def nearest_counts(found: Neighbours, images: int, blank: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How many queries, blank ones left out, have each of the other side's images as their nearest: (images,) float64."""
    nearest = found.rows[~blank, 0]
    return np.bincount(nearest[nearest >= 0], minlength=images).astype(np.float64)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each row, NaN entries left out, NaN where nothing is left."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotients, NaN where the divisor is 0 or unknown."""
    usable = below > 0
    return np.where(usable, above / np.where(usable, below, 1), np.nan)
