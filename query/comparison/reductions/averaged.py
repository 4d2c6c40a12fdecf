"""Averaged attribution: what the generated images have in common in which a real image takes the largest part."""

from typing import Self

import numpy as np

from embeddings.views.whitening import unit_rows
from query.comparison.reductions.nearest import distances_of, keys_of, rows_of, smallest
from query.comparison.reductions.nearest_vectors import NearestVectors, nothing_near, words_of
from query.comparison.reductions.ridge import Values, floats
from query.comparison.reductions.tile import Tile
from query.comparison.reductions.weights import Weights

COUNTS = (5, 10, 20)  # generated images that are averaged


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
        vectors = np.asarray(generated.vectors)
        words = words_of(vectors)
        by_contents = np.lexsort(words.T)
        far = np.full((len(self._nearest.rows), len(tile)), np.inf, np.float32)
        far[parts.slot, parts.image] = -parts.weight
        far[:, generated.blank] = np.inf
        queries = np.flatnonzero((np.isfinite(far) & (far <= self._nearest.distances[:, -1:])).any(axis=1))
        keys = smallest(keys_of(far[queries][:, by_contents], np.arange(len(tile))[None]), min(COUNTS[-1], len(tile)))
        columns = by_contents[rows_of(keys)]
        self._nearest.take(NearestVectors(distances_of(keys), columns + tile.first, words[columns], vectors[columns]), queries)

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._nearest.take(other._nearest, np.arange(len(self._nearest.rows)))

    def result(self) -> Values:
        """The values."""
        blank = self._chosen_by.real.blank | self._explained_by.real.blank
        value = np.mean([self._weights(count) for count in COUNTS], axis=0)
        return np.where(blank, np.nan, value.reshape(self._explained_by.sides, -1).max(axis=0))

    def _weights(self, count: int) -> Values:
        """(slots,) of each real image in the average of so many generated ones."""
        weights = np.maximum(-self._nearest.distances[:, :count], 0).astype(np.float64)
        vectors = floats(self._nearest.vectors[:, :count], self._explained_by.real.spec.metric)
        average = np.einsum("nk,nkd->nd", weights, vectors)
        some = weights.any(axis=1)
        return np.where(some, self._explained_by.own(unit_rows(average.astype(np.float32))), 0)
