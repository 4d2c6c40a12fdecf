"""Matrix of the distances of all pairs, where these are few enough to be kept."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from query.comparison.reductions.tile import Tile


class AllDistances:
    """Reduction to the (nr, m) float32 distances of one view, m generated images by row. Memory grows with the pairs."""

    def __init__(self, view: str) -> None:
        self._view = view
        self._parts: dict[int, NDArray[np.float32]] = {}

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        self._parts[tile.first] = self._of(tile)

    def _of(self, tile: Tile) -> NDArray[np.float32]:
        return tile.view(self._view).distances

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._parts |= other._parts

    def result(self) -> NDArray[np.float32]:
        """The matrix."""
        return np.hstack([self._parts[first] for first in sorted(self._parts)])


class PlainDistances(AllDistances):
    """The same to the real images as they are, where flipped ones count too; not of the combined view."""

    def _of(self, tile: Tile) -> NDArray[np.float32]:
        return tile.views[self._view].plain
