"""The k nearest images of the other side, in both directions; equal distances by row."""

from typing import Self

import numpy as np

from embeddings.types import Metric
from indexer.search import brute_force
from indexer.types import Distances, Neighbours
from query.comparison.reductions.nearest import NONE, Keys, Smallest, distances_of, flipped_of, keys_of, rows_of, smallest
from query.comparison.reductions.tile import Tile

_KEYS = 2_000_000  # keys read at a time, about


class NearestGenerated:
    """Reduction to each real image's k nearest generated ones, `Neighbours` of (nr, k).

    Args:
        view: of the distances.
        metric: of the view; the combined one counts as cosine.
        reals: real images.
        k: neighbours wanted.
    """

    def __init__(self, view: str, metric: Metric, reals: int, k: int) -> None:
        self._view, self._metric = view, metric
        self._smallest = Smallest(reals, k)

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        view = tile.view(self._view)
        self._smallest.add(view.distances, np.arange(tile.first, tile.first + len(tile)), view.nearer_flipped)

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._smallest.merge(other._smallest)

    def result(self) -> Neighbours:
        """The neighbours."""
        return neighbours_of(self._smallest.keys(), self._metric)

    def distances(self) -> Distances:
        """Theirs alone, (nr, k), some images at a time: of very many neighbours the rest is large."""
        keys = self._smallest.keys()
        step = max(1, _KEYS // max(1, keys.shape[1]))
        found = brute_force.nothing_found(self._metric, keys.shape)
        for start in range(0, len(keys), step):
            found[start : start + step] = neighbours_of(keys[start : start + step], self._metric).distances
        return found


class NearestReal:
    """Reduction to each generated image's k nearest real ones, `Neighbours` of (m, k) for the m images seen so far, by row.

    It holds 8 bytes for each of them and neighbour; nothing else here grows with the generated side.

    Args:
        view, metric, k: see `NearestGenerated`.
    """

    def __init__(self, view: str, metric: Metric, k: int) -> None:
        self._view, self._metric, self._k = view, metric, k
        self._parts: dict[int, Keys] = {}

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        view = tile.view(self._view)
        flipped = None if view.nearer_flipped is None else np.ascontiguousarray(view.nearer_flipped.T)
        keys = keys_of(view.turned, np.arange(view.turned.shape[1])[None], flipped)
        self._parts[tile.first] = smallest(keys, min(self._k, keys.shape[1]))

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._parts |= other._parts

    def result(self) -> Neighbours:
        """The neighbours."""
        parts = [self._parts[first] for first in sorted(self._parts)]
        count = sum(map(len, parts))
        rows = np.full((count, self._k), -1, np.int64)
        distances, flipped = brute_force.nothing_found(self._metric, rows.shape), np.zeros(rows.shape, bool)
        start = 0
        for keys in parts:
            here = slice(start, start + len(keys)), slice(0, keys.shape[1])
            rows[here], distances[here], flipped[here] = rows_of(keys), distances_of(keys), flipped_of(keys)
            start += len(keys)
        return Neighbours(rows, distances, flipped)


def neighbours_of(keys: Keys, metric: Metric) -> Neighbours:
    """(n, k) keys as neighbours."""
    distances = brute_force.nothing_found(metric, keys.shape)
    known = keys != NONE
    distances[known] = distances_of(keys[known])
    return Neighbours(rows_of(keys), distances, flipped_of(keys))
