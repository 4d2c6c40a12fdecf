"""k-occurrence: how many generated images have each real one among their nearest, where patients compete."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from query.comparison.reductions.tile import Tile

_SHARES = 2.0**40  # steps in which shares are summed: whole numbers, so that their order does not matter


class Occurrences:
    """Reduction to the number of generated images that have each real one among their k nearest: (nr,) float64.

    The k-occurrence of Radovanovic et al. (JMLR 2010), by group: an image counts where the nearest images of fewer than k other
    groups are nearer. So its own group's images take no place from it. Blank images take no part.

    Args:
        view: of the distances.
        groups: (nr,) which real images belong together, more than k groups; of any type that can be sorted.
        k: groups that each generated image names.
    """

    def __init__(self, view: str, groups: NDArray[Any], k: int) -> None:
        self._view, self._k = view, k
        self._groups = np.unique(groups, return_inverse=True)[1].ravel()
        self._shares = np.zeros(len(groups), np.int64)

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        view = tile.view(self._view)
        shares = _places(view.distances[:, ~view.generated_blank], self._groups, ~view.real_blank, self._k)
        self._shares += np.rint(shares * _SHARES).astype(np.int64).sum(axis=1)

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._shares += other._shares

    def result(self) -> NDArray[np.float64]:
        """The counts."""
        return self._shares / _SHARES


def occurrences(distances: NDArray[np.float32], groups: NDArray[Any], seen: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """(nr,) columns of (nr, m) distances that name each row, see `Occurrences`; blank and infinite ones do not count."""
    return np.asarray(_places(distances, np.unique(groups, return_inverse=True)[1].ravel(), seen, k).sum(axis=1))


def _places(distances: NDArray[np.float32], groups: NDArray[np.int64], seen: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """(nr, m) shares of places.

    Groups at equal distances (codes have few) share the places that are left: their order must not choose.
    """
    far = np.where(seen[:, None], distances, np.inf)
    order = np.argsort(groups, kind="stable")
    best = np.minimum.reduceat(far[order], np.searchsorted(groups[order], np.arange(groups.max() + 1)), axis=0)
    top = np.sort(np.partition(best, k, axis=0)[: k + 1], axis=0)
    mine = best[groups]
    nearer = np.sum([each < far for each in top], axis=0) - (mine < far)  # the own group is no rival
    level = np.sum([each == far for each in top], axis=0)
    level = np.where(far == top[k], (best == top[k]).sum(axis=0), level) - (mine == far)
    return np.asarray(np.where(np.isfinite(far), np.clip((k - nearer) / (1 + np.maximum(level, 0)), 0, 1), 0))
