"""Some of the generated images: what another reduction gives for a draw of them, from the distances of all."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from query.comparison.reductions.driver import Reduction
from query.comparison.reductions.tile import Tile


class Drawn:
    """Reduction to what another one gives where there are no other generated images than those drawn, numbered by themselves.

    Args:
        reduction: of the draw.
        rows: (m,) int64, rows of all generated images, ascending.
    """

    def __init__(self, reduction: Reduction[Any], rows: NDArray[np.int64]) -> None:
        self._reduction, self._rows = reduction, rows

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        first, last = np.searchsorted(self._rows, [tile.first, tile.first + len(tile)])
        if first < last:
            self._reduction.update(tile.take(self._rows[first:last] - tile.first, int(first)))

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._reduction.merge(other._reduction)

    def result(self) -> Any:
        """That of the draw."""
        return self._reduction.result()
