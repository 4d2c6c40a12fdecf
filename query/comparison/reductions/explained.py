"""Residual: how well each real image is reconstructed from its nearest generated images."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Metric
from query.comparison.reductions.logarithms import EPSILON
from query.comparison.reductions.nearest_vectors import NearestVectors, nothing_near
from query.comparison.reductions.ridge import SPAN, Values, floats, residual
from query.comparison.reductions.sides import RealVectors
from query.comparison.reductions.tile import Tile

_STEP = 500  # real images explained at a time


class Explained:
    """Reduction to - log of what remains of each real image when its 20 nearest generated ones are fitted to it: (nr,) float64.

    Where flipped images count, the larger of both values. Of equally near images (codes have few distances) those are taken that
    come first by their contents: not by their order. See `ridge.residual`.

    It holds the vectors of 20 generated images for each real one.

    Args:
        view: of the vectors.
        real: all real images in it.
    """

    def __init__(self, view: str, real: RealVectors) -> None:
        self._view, self._real = view, real
        self._nearest = [nothing_near(side, SPAN) for side in real.sides]

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        view = tile.views[self._view]
        vectors = np.asarray(view.generated.vectors)
        for number, nearest in enumerate(self._nearest):
            nearest.look(view.to_side(number), vectors, tile.first)

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        for mine, theirs in zip(self._nearest, other._nearest, strict=True):
            mine.merge(theirs)

    def result(self) -> Values:
        """The values, also of blank images."""
        return np.asarray(np.max([self._values(*each) for each in zip(self._real.sides, self._nearest, strict=True)], axis=0))

    def _values(self, side: NDArray[Any], nearest: NearestVectors) -> Values:
        metric = self._real.spec.metric
        known = int(np.isfinite(nearest.distances[:1]).sum())  # all have as many
        parts = [np.zeros(0)]
        for start in range(0, len(side), _STEP):
            some = slice(start, start + _STEP)
            parts.append(residual(floats(side[some], metric), floats(nearest.vectors[some, :known], metric)))
        return -np.log(np.maximum(np.concatenate(parts), EPSILON[Metric.COSINE]))
