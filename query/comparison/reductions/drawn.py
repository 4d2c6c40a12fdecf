"""Some of the generated images: what other reductions give for a draw of them, from the distances of all."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from query.comparison.reductions.driver import Reduction
from query.comparison.reductions.tile import Tile


class Drawn:
    """Reduction to what others give where there are no other generated images than those drawn, numbered by themselves.

    Args:
        reductions: of the draw; they share its tiles.
        rows: (m,) int64, rows of all generated images, ascending.
    """

    def __init__(self, reductions: Sequence[Reduction[Any]], rows: NDArray[np.int64]) -> None:
        self._reductions, self._rows = reductions, rows

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        first, last = np.searchsorted(self._rows, [tile.first, tile.first + len(tile)])
        if first < last:
            drawn = tile.take(self._rows[first:last] - tile.first, int(first))
            for reduction in self._reductions:
                reduction.update(drawn)

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        for mine, theirs in zip(self._reductions, other._reductions, strict=True):
            mine.merge(theirs)

    def result(self) -> list[Any]:
        """Those of the draw."""
        return [reduction.result() for reduction in self._reductions]
