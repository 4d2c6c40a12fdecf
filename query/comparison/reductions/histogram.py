"""Exact histogram of the distances of all pairs."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec, Metric
from query.comparison.reductions.tile import Tile

_BINS = 200  # of a histogram of cosine distances
COMBINED_EDGES = np.linspace(-30, 5, 351)  # standard deviations; what lies above falls into the last bin


@dataclass(frozen=True)
class Histogram:
    """Exact counts of all pairs: `counts[i]` lie in `edges[i] <= d < edges[i + 1]`, the last bin holds its upper edge too."""

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]


class PairCounts:
    """Reduction to the `Histogram` of one view.

    Args:
        view: of the distances.
        edges: (bins + 1,), equally far apart.
    """

    def __init__(self, view: str, edges: NDArray[np.float64]) -> None:
        self._view, self._edges = view, edges
        self._counts = np.zeros(len(edges) - 1, np.int64)

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        self._counts += counts(tile.view(self._view).distances, self._edges)

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._counts += other._counts

    def result(self) -> Histogram:
        """The histogram."""
        return Histogram(self._edges, self._counts)


def edges_of(spec: EmbeddingSpec) -> NDArray[np.float64]:
    """One bin a distance for hamming; equal bins over 0..2 for cosine."""
    if spec.metric is Metric.HAMMING:
        return np.arange(spec.dim + 2, dtype=np.float64)
    return np.linspace(0, 2, _BINS + 1)


def counts(distances: NDArray[np.float32], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Counts by bin; what lies outside falls into the end bins, so that no pair is lost."""
    scaled = (distances.ravel().astype(np.float64) - edges[0]) * ((len(edges) - 1) / (edges[-1] - edges[0]))
    return np.bincount(np.clip(scaled.astype(np.int64), 0, len(edges) - 2), minlength=len(edges) - 1)
