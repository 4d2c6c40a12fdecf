"""Averaged attribution: what the generated images have in common in which a real image takes the largest part."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from embeddings.views.whitening import unit_rows
from query.comparison.reductions.nearest_vectors import nothing_near
from query.comparison.reductions.ridge import Values, floats
from query.comparison.reductions.tile import Tile
from query.comparison.reductions.weights import Weights

COUNTS = (5, 10, 20)  # generated images that are averaged
_STEP = 500  # real images averaged at a time


class Averaged:
    """Reduction to the weight of each real image in the average of the generated images in which it takes the largest part.

    A generator varies what it remembers. The average of the variations of one image is nearer to it than each of them; the
    average of those of another image is not, however much both look alike. So the average is explained like a generated image,
    see `Weights`; the value is the mean weight in the averages of the 5, 10 and 20 images of the largest weights, each counting
    with its weight. Images are chosen in one view and may be explained in another: what resembles an image in one view by chance
    does not in the other.

    Result: (nr,) float64, 0 where an image takes part in none, NaN where a view sees nothing in it. Where flipped
    images count, the larger of both values. It holds the vectors of 20 generated images for each real one.

    Args:
        chosen_by: weights that choose.
        explained_by: weights in the view in which the averages are explained; may be the same.
    """

    def __init__(self, chosen_by: Weights, explained_by: Weights) -> None:
        self._chosen_by, self._explained_by = chosen_by, explained_by
        real = explained_by.real
        sides = [side for side in (real.vectors, real.flipped) if side is not None]
        self._nearest = nothing_near(np.concatenate(sides), COUNTS[-1])

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        parts, generated = self._chosen_by.of(tile), tile.views[self._explained_by.view].generated
        far = np.full((len(self._nearest.rows), len(tile)), np.inf, np.float32)
        far[parts.slot, parts.image] = -parts.weight
        far[:, generated.blank] = np.inf
        self._nearest.look(far, np.asarray(generated.vectors), tile.first)

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._nearest.merge(other._nearest)

    def result(self) -> Values:
        """The values."""
        blank = self._chosen_by.real.blank | self._explained_by.real.blank
        value = np.mean([self._weights(count) for count in COUNTS], axis=0)
        return np.where(blank, np.nan, value.reshape(self._explained_by.sides, -1).max(axis=0))

    def _weights(self, count: int) -> Values:
        """(slots,) of each real image in the average of so many generated ones."""
        weights = np.maximum(-self._nearest.distances[:, :count], 0)
        average = [
            self._average(weights[rows], rows) for rows in np.array_split(np.arange(len(weights)), len(weights) // _STEP + 1)
        ]
        return np.where(weights.any(axis=1), self._explained_by.own(unit_rows(np.concatenate(average))), 0)

    def _average(self, weights: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, width) weighted sums of the first of the nearest of some rows."""
        vectors = floats(self._nearest.vectors[rows, : weights.shape[1]], self._explained_by.real.spec.metric)
        return np.asarray(np.einsum("nk,nkd->nd", weights.astype(np.float64), vectors), np.float32)
