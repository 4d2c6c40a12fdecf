"""Mean and standard deviation of each image's distances to the other side, exact: the same bytes in any partition."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from query.comparison.combined import Moments
from query.comparison.reductions.tile import Tile

_LOW = 31  # bits that the lower halves of sums of squares hold


class RealMoments:
    """Reduction to `Moments` of one view. Distances are whole numbers of steps, so that integers hold their sums exactly.

    A squared distance has at most 51 bits, a tile's sum of them 62; larger sums stand in two halves.

    Args:
        view: not the combined one.
        reals: real images.
    """

    def __init__(self, view: str, reals: int) -> None:
        self._view, self._count, self._steps = view, 0, 1.0
        self._sum, self._high, self._low = (np.zeros(reals, np.int64) for _ in range(3))

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        view = tile.views[self._view]
        whole = view.whole_steps()
        squares = np.einsum("rg,rg->r", whole, whole)
        self._steps = view.steps
        self._add(whole.shape[1], whole.sum(axis=1), squares >> _LOW, squares & ((1 << _LOW) - 1))

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._steps = max(self._steps, other._steps)
        self._add(other._count, other._sum, other._high, other._low)

    def _add(self, count: int, total: NDArray[np.int64], high: NDArray[np.int64], low: NDArray[np.int64]) -> None:
        self._count += count
        self._sum, self._high, self._low = self._sum + total, self._high + high, self._low + low

    def result(self) -> Moments:
        """(nr,) mean and standard deviation; both 0 where there is no generated image."""
        count = max(1, self._count)
        squares = [(int(high) << _LOW) + int(low) for high, low in zip(self._high, self._low, strict=True)]
        sums = [int(total) for total in self._sum]
        variance = np.array([(count * square - total**2) / count**2 for total, square in zip(sums, squares, strict=True)])
        return Moments(self._sum / count / self._steps, np.sqrt(variance.astype(np.float64)) / self._steps)


class GeneratedMoments:
    """Reduction to `Moments` of each generated image's distances in one view, (m,) by row. Holds 16 bytes for each."""

    def __init__(self, view: str) -> None:
        self._view = view
        self._parts: dict[int, Moments] = {}

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        self._parts[tile.first] = tile.views[self._view].generated_moments

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._parts |= other._parts

    def result(self) -> Moments:
        """Means and standard deviations."""
        parts = [self._parts[first] for first in sorted(self._parts)]
        none = np.zeros(0)
        return Moments(np.concatenate([none, *(p.mean for p in parts)]), np.concatenate([none, *(p.std for p in parts)]))
