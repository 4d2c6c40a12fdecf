"""The nearest generated images of each real one with their vectors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from query.comparison.reductions.nearest import distances_of, keys_of, rows_of, smallest

_STEP = 500  # queries at a time: vectors are copied


@dataclass
class NearestVectors:
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

    def look(self, distances: NDArray[np.float32], vectors: NDArray[Any], first: int) -> None:
        """Take further generated images into account.

        Args:
            distances: (n, g), infinite where an image does not count.
            vectors: (g, width).
            first: row of the first of them among all.
        """
        k, words = min(self.rows.shape[1], len(vectors)), _words_of(vectors)
        by_contents = np.lexsort(words.T)
        queries = np.flatnonzero((np.isfinite(distances) & (distances <= self.distances[:, -1:])).any(axis=1))
        for start in range(0, len(queries), _STEP):
            some = queries[start : start + _STEP]
            keys = smallest(keys_of(distances[some][:, by_contents], np.arange(len(vectors))[None]), k)
            columns = by_contents[rows_of(keys)]
            self._take(NearestVectors(distances_of(keys), columns + first, words[columns], vectors[columns]), some)

    def merge(self, other: "NearestVectors") -> None:
        """Take what another one has seen into account."""
        for start in range(0, len(self.rows), _STEP):
            some = np.arange(start, min(start + _STEP, len(self.rows)))
            self._take(other._of(some), some)

    def _of(self, queries: NDArray[np.int64]) -> "NearestVectors":
        """Those of some queries."""
        return NearestVectors(self.distances[queries], self.rows[queries], self.words[queries], self.vectors[queries])

    def _take(self, other: "NearestVectors", queries: NDArray[np.int64]) -> None:
        """Take the other's candidates for these queries into account."""
        mine, k = self._of(queries), self.rows.shape[1]
        distances, rows = np.hstack([mine.distances, other.distances]), np.hstack([mine.rows, other.rows])
        words = np.concatenate([mine.words, other.words], axis=1)
        order = np.lexsort((rows, *np.moveaxis(words, 2, 0), distances), axis=1)[:, :k]
        vectors = np.concatenate([mine.vectors, other.vectors], axis=1)
        self.distances[queries] = np.take_along_axis(distances, order, 1)
        self.rows[queries] = np.take_along_axis(rows, order, 1)
        self.words[queries] = np.take_along_axis(words, order[..., None], 1)
        self.vectors[queries] = np.take_along_axis(vectors, order[..., None], 1)


def nothing_near(side: NDArray[Any], count: int) -> NearestVectors:
    """Room for `count` images near each row of a side."""
    shape, words = (len(side), count), _words_of(side[:0])
    distances, rows = np.full(shape, np.inf, np.float32), np.zeros(shape, np.int64)
    return NearestVectors(
        distances, rows, np.zeros((*shape, words.shape[1]), words.dtype), np.zeros((*shape, side.shape[1]), side.dtype)
    )


def _words_of(vectors: NDArray[Any]) -> NDArray[Any]:
    """(n, w) what vectors are ordered by, the most important last: codes from their last bit on, floats by their last two values.

    Where different floats are equally near, which only chance brings about, more would decide nothing.
    """
    if vectors.dtype != np.uint8:
        return vectors[:, -2:]
    bits = np.packbits(np.unpackbits(vectors, axis=1)[:, ::-1], axis=1)
    filled = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8)))
    return np.ascontiguousarray(filled).view(">u8").astype(np.uint64)[:, ::-1]
