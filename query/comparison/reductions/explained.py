"""Residual: how well each real image is reconstructed from its nearest generated images."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Metric
from query.comparison.reductions.logarithms import EPSILON
from query.comparison.reductions.nearest import distances_of, keys_of, rows_of, smallest
from query.comparison.reductions.ridge import SPAN, Values, floats, residual
from query.comparison.reductions.sides import RealVectors
from query.comparison.reductions.tile import Tile

_STEP = 500  # real images explained at a time


@dataclass
class _Nearest:
    """The nearest generated images of each of n queries with their vectors; equal distances by contents, equal contents by row.

    Attributes:
        distances: (n, k) float32, infinite where there is none.
        rows: (n, k) int64.
        words: (n, k, w) what contents are ordered by, the most important last.
        vectors: (n, k, width).
    """

    distances: NDArray[np.float32]
    rows: NDArray[np.int64]
    words: NDArray[Any]
    vectors: NDArray[Any]

    def of(self, queries: NDArray[np.int64] | slice) -> "_Nearest":
        """Those of some queries."""
        return _Nearest(self.distances[queries], self.rows[queries], self.words[queries], self.vectors[queries])

    def take(self, other: "_Nearest", queries: NDArray[np.int64]) -> None:
        """Take the other's candidates for these queries into account."""
        mine, k = self.of(queries), self.rows.shape[1]
        distances, rows = np.hstack([mine.distances, other.distances]), np.hstack([mine.rows, other.rows])
        words = np.concatenate([mine.words, other.words], axis=1)
        order = np.lexsort((rows, *np.moveaxis(words, 2, 0), distances), axis=1)[:, :k]
        vectors = np.concatenate([mine.vectors, other.vectors], axis=1)
        self.distances[queries] = np.take_along_axis(distances, order, 1)
        self.rows[queries] = np.take_along_axis(rows, order, 1)
        self.words[queries] = np.take_along_axis(words, order[..., None], 1)
        self.vectors[queries] = np.take_along_axis(vectors, order[..., None], 1)


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
        self._sides = [side for side in (real.vectors, real.flipped) if side is not None]
        self._nearest = [_nothing(side) for side in self._sides]

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        view = tile.views[self._view]
        vectors = np.asarray(view.generated.vectors)
        words = _words(vectors)
        by_contents = np.lexsort(words.T)
        for number, nearest in enumerate(self._nearest):
            distances = view.to_side(number)
            queries = np.flatnonzero((distances <= nearest.distances[:, -1:]).any(axis=1))
            for start in range(0, len(queries), _STEP):
                some = queries[start : start + _STEP]
                keys = smallest(keys_of(distances[some][:, by_contents], np.arange(len(tile))[None]), min(SPAN, len(tile)))
                columns = by_contents[rows_of(keys)]
                nearest.take(_Nearest(distances_of(keys), columns + tile.first, words[columns], vectors[columns]), some)

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        for mine, theirs in zip(self._nearest, other._nearest, strict=True):
            for start in range(0, len(mine.rows), _STEP):
                some = np.arange(start, min(start + _STEP, len(mine.rows)))
                mine.take(theirs.of(some), some)

    def result(self) -> Values:
        """The values, also of blank images."""
        return np.asarray(np.max([self._values(*each) for each in zip(self._sides, self._nearest, strict=True)], axis=0))

    def _values(self, side: NDArray[Any], nearest: _Nearest) -> Values:
        metric = self._real.spec.metric
        known = int(np.isfinite(nearest.distances[:1]).sum())  # all have as many
        parts = [np.zeros(0)]
        for start in range(0, len(side), _STEP):
            some = slice(start, start + _STEP)
            parts.append(residual(floats(side[some], metric), floats(nearest.vectors[some, :known], metric)))
        return -np.log(np.maximum(np.concatenate(parts), EPSILON[Metric.COSINE]))


def _nothing(side: NDArray[Any]) -> _Nearest:
    shape, words = (len(side), SPAN), _words(side[:0])
    distances, rows = np.full(shape, np.inf, np.float32), np.zeros(shape, np.int64)
    return _Nearest(
        distances, rows, np.zeros((*shape, words.shape[1]), words.dtype), np.zeros((*shape, side.shape[1]), side.dtype)
    )


def _words(vectors: NDArray[Any]) -> NDArray[Any]:
    """(n, w) what vectors are ordered by, the most important last: codes from their last bit on, floats by their last two values.

    Where different floats are equally near, which only chance brings about, more would decide nothing.
    """
    if vectors.dtype != np.uint8:
        return vectors[:, -2:]
    bits = np.packbits(np.unpackbits(vectors, axis=1)[:, ::-1], axis=1)
    filled = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8)))
    return np.ascontiguousarray(filled).view(">u8").astype(np.uint64)[:, ::-1]
