"""The nearest generated images of each real one with their vectors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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

    def of(self, queries: NDArray[np.int64] | slice) -> "NearestVectors":
        """Those of some queries."""
        return NearestVectors(self.distances[queries], self.rows[queries], self.words[queries], self.vectors[queries])

    def take(self, other: "NearestVectors", queries: NDArray[np.int64]) -> None:
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


def nothing_near(side: NDArray[Any], count: int) -> NearestVectors:
    """Room for `count` images near each row of a side."""
    shape, words = (len(side), count), words_of(side[:0])
    distances, rows = np.full(shape, np.inf, np.float32), np.zeros(shape, np.int64)
    return NearestVectors(
        distances, rows, np.zeros((*shape, words.shape[1]), words.dtype), np.zeros((*shape, side.shape[1]), side.dtype)
    )


def words_of(vectors: NDArray[Any]) -> NDArray[Any]:
    """(n, w) what vectors are ordered by, the most important last: codes from their last bit on, floats by their last two values.

    Where different floats are equally near, which only chance brings about, more would decide nothing.
    """
    if vectors.dtype != np.uint8:
        return vectors[:, -2:]
    bits = np.packbits(np.unpackbits(vectors, axis=1)[:, ::-1], axis=1)
    filled = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8)))
    return np.ascontiguousarray(filled).view(">u8").astype(np.uint64)[:, ::-1]
