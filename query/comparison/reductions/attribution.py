"""Attribution: power means of the weights with which each real image takes part in explaining the generated ones."""

from typing import Self

import numpy as np

from query.comparison.reductions.ridge import Values
from query.comparison.reductions.tile import Tile
from query.comparison.reductions.weights import Weights

POWERS = (3, 6)  # of the means: the higher, the more the largest weights count


class Attribution:
    """Reduction to power means of `Weights` over the generated images: (powers, nr) float64.

    The cubic mean sees an image that has a part in many generated ones, the mean of sixth powers one that was copied a few times.
    Where flipped images count, the larger value does. 0 for an image that is among the nearest of none, NaN for a blank one.

    Args:
        weights: of the real images in one view.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._sums, self._count = np.zeros((len(POWERS), weights.sides * len(weights.real.blank))), 0

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        self._count += int((~tile.views[self._weights.view].generated_blank).sum())
        parts = self._weights.of(tile)
        for row, power in enumerate(POWERS):
            self._sums[row] += np.bincount(parts.slot, parts.weight**power, self._sums.shape[1])

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._sums, self._count = self._sums + other._sums, self._count + other._count

    def result(self) -> Values:
        """The means."""
        means = (self._sums / max(1, self._count)) ** (1 / np.array(POWERS)[:, None])
        value = means.reshape(len(POWERS), self._weights.sides, -1).max(axis=1)
        return np.where(self._weights.real.blank, np.nan, value)
