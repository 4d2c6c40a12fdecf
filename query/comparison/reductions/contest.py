"""Contest: are generated images nearer to a real image than to real images of other groups."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Metric
from query.comparison.reductions.logarithms import logs
from query.comparison.reductions.tile import Tile

RIVALS = 3  # generated images that are looked at
LOST = -2.0  # of logarithms: farther by e^2 is lost for certain, so an exact copy of a rival does not outweigh one's own
_TIE = 1e-12  # how much winning counts in the order of generated images: far less than distances differ

Values = NDArray[np.float64]


class Contest:
    """Reduction to how much nearer an image's k nearest generated ones lie to it than to any of another group: (nr,) float64.

    A real image that merely is of the kind that the generator draws, of the same scanner say, lies near generated images; but
    those lie nearer still to the image that they were made from. So it loses where it is not the source, which distances alone
    do not tell. Blank images take no part; of equally near generated images those that speak for the image come first.

    The value is a mean of differences of log distances, above 0 for an image that is nearer than all others; 0 where there is no
    other group.

    Args:
        view, metric: of the distances.
        groups: (nr,) which real images belong together; of any type that can be sorted.
        k: generated images that are looked at.
    """

    def __init__(self, view: str, metric: Metric, groups: NDArray[Any], k: int = RIVALS) -> None:
        self._view, self._metric, self._k, self._count = view, metric, k, 0
        self._groups = np.unique(groups, return_inverse=True)[1].ravel()
        self._far, self._ahead = np.full((len(groups), k), np.inf), np.zeros((len(groups), k))

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        view = tile.view(self._view)
        made = ~view.generated_blank
        distances = view.distances[:, made]
        if not distances.size:
            return
        self._count += distances.shape[1]
        first, second, holder = nearest_groups(distances, self._groups, ~view.real_blank)
        mine = logs(distances, self._metric)
        other = np.where(holder == self._groups[:, None], logs(second, self._metric), logs(first, self._metric))
        ahead = np.where(np.isfinite(other), np.maximum(other - mine, LOST), 0)
        self._take(*_smallest_with_ties(mine - _TIE * ahead, ahead, self._k))

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._count += other._count
        self._take(other._far, other._ahead)

    def _take(self, far: Values, ahead: Values) -> None:
        far, ahead = np.hstack([self._far, far]), np.hstack([self._ahead, ahead])
        order = np.lexsort((-ahead, far), axis=1)[:, : self._k]
        self._far, self._ahead = (np.take_along_axis(each, order, 1) for each in (far, ahead))

    def result(self) -> Values:
        """The values, also of blank images."""
        k = min(self._k, self._count)
        return np.asarray(self._ahead[:, :k].sum(axis=1) / max(1, k))


def nearest_groups(
    distances: NDArray[np.float32], groups: NDArray[np.int64], seen: NDArray[np.bool_]
) -> tuple[Values, Values, NDArray[np.int64]]:
    """For each generated image the distances to its nearest real image and to the nearest of another group; the first's group.

    Args:
        distances: (nr, g).
        groups: (nr,).
        seen: (nr,), real images that count.

    Returns:
        (g,) each; infinite where there is none.
    """
    rows = np.flatnonzero(seen)
    rows = rows[np.argsort(groups[rows], kind="stable")]
    names, starts = np.unique(groups[rows], return_index=True)
    nearest = np.full((len(names) + 2, distances.shape[1]), np.inf)
    if len(rows):
        nearest[: len(names)] = np.minimum.reduceat(distances[rows], starts, axis=0)
    place = nearest.argmin(axis=0)
    first, second = np.partition(nearest, 1, axis=0)[:2]
    return first, second, np.append(names, [-1, -1])[place]


def _smallest_with_ties(keys: Values, values: Values, k: int) -> tuple[Values, Values]:
    """The k smallest keys of each row of (n, m), and all that are equal to the last of them, with their values."""
    if keys.shape[1] <= k:
        return keys, values
    chosen = keys <= np.partition(keys, k - 1, axis=1)[:, k - 1 : k]
    row, column = np.nonzero(chosen)
    place = np.arange(len(row)) - np.searchsorted(row, row)
    shape = len(keys), int(chosen.sum(axis=1).max())
    near, worth = np.full(shape, np.inf), np.zeros(shape)
    near[row, place], worth[row, place] = keys[row, column], values[row, column]
    return near, worth
