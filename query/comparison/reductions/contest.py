"""Contest: are generated images nearer to a real image than to real images of other groups."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Metric
from query.comparison.reductions.logarithms import logs
from query.comparison.reductions.rivals import Rivals
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
        rivals: of all real images.
        k: generated images that are looked at.
    """

    def __init__(self, view: str, metric: Metric, rivals: Rivals, k: int = RIVALS) -> None:
        self._view, self._metric, self._k, self._count = view, metric, k, 0
        self._rivals = rivals
        shape = len(rivals.group), k
        self._far, self._ahead = np.full(shape, np.inf), np.zeros(shape)

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        view = tile.view(self._view)
        made = ~view.generated_blank
        distances = view.distances[:, made]
        if not distances.size:
            return
        self._count += distances.shape[1]
        mine, other = logs(distances, self._metric), logs(nearest_rivals(distances, self._rivals, ~view.real_blank), self._metric)
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
        """The values; 0 of blank images."""
        k = min(self._k, self._count)
        return np.asarray(self._ahead[:, :k].sum(axis=1) / max(1, k))


def nearest_rivals(distances: NDArray[np.float32], rivals: Rivals, seen: NDArray[np.bool_]) -> Values:
    """(nr, g) distance of each generated image to the nearest rival of each real one, infinite without one and for blank ones.

    Args:
        distances: (nr, g).
        rivals: of all real images.
        seen: (nr,), real images that count.
    """
    found = np.full(distances.shape, np.inf)
    own = rivals.among(seen)
    if not len(own.group):
        return found
    order = np.argsort(own.group, kind="stable")
    best = np.minimum.reduceat(distances[seen][order], np.searchsorted(own.group[order], np.arange(len(own.excluded))), axis=0)
    near = np.argsort(best, axis=0, kind="stable")[: own.excluded.shape[1] + 1]
    excluded = own.excluded[own.group]
    nearest = np.full((len(own.group), distances.shape[1]), np.inf)
    for place in near[::-1]:  # the nearest one last, so that it stands
        free = ~(excluded[:, :, None] == place).any(axis=1)
        nearest = np.where(free, np.take_along_axis(best, place[None], 0), nearest)
    found[seen] = nearest
    return found


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
