"""k-occurrence: how many generated images have each real one among their nearest."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from query.comparison.reductions.tile import Tile

_SHARES = 2.0**40  # steps in which shares are summed: whole numbers, so that their order does not matter


class Occurrences:
    """Reduction to the number of generated images that have each real one among their k nearest: (nr,) float64.

    The k-occurrence of Radovanovic et al. (JMLR 2010). Blank images take no part.

    Args:
        view: of the distances.
        reals: real images, more than k.
        k: real images that each generated one names.
    """

    def __init__(self, view: str, reals: int, k: int) -> None:
        self._view, self._k = view, k
        self._shares = np.zeros(reals, np.int64)

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        view = tile.view(self._view)
        nearer, shares = _places(view.distances[:, ~view.generated_blank], ~view.real_blank, self._k)
        self._shares += nearer * np.int64(_SHARES) + np.rint(shares * _SHARES).astype(np.int64).sum(axis=1)

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._shares += other._shares

    def result(self) -> NDArray[np.float64]:
        """The counts."""
        return self._shares / _SHARES


def occurrences(distances: NDArray[np.float32], seen: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """(nr,) columns of (nr, m) distances that have each row among their k smallest; blank and infinite ones do not count."""
    nearer, shares = _places(distances, seen, k)
    return np.asarray(nearer + shares.sum(axis=1))


def _places(distances: NDArray[np.float32], seen: NDArray[np.bool_], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(nr,) whole places, and (nr, m) shares of places.

    Rows at equal distances (codes have few) share the places that are left: their order must not choose.
    """
    far = np.where(seen[:, None], distances, np.inf)
    last = np.partition(far, k - 1, axis=0)[k - 1]
    nearer, level = far < last, (far == last) & np.isfinite(far)
    share = (k - nearer.sum(axis=0)) / np.maximum(1, level.sum(axis=0))
    return nearer.sum(axis=1), np.where(level, share, 0)
