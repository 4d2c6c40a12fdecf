"""Exact search and distance matrices in NumPy: the reference for every FAISS index."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Metric
from indexer.types import Distances, Neighbours

# Largest difference of two computations of one cosine distance: by another routine, processor or number of threads. Sums of at
# most 512 float32 products of unit vectors in another order; 2.4e-7 is the most that was seen (tests/indexer/test_kernels.py).
ROUNDING = 1e-6
_GRID = 2.0**26  # steps of a component, see `grid_distances`
_PAIRS = 4_000_000  # pairs compared at a time: a few hundred MB


def distances(metric: Metric, queries: NDArray[Any], vectors: NDArray[Any]) -> Distances:
    """All distances: (nq, n) int32 for hamming, float32 for cosine.

    Args:
        metric: how they are compared.
        queries: (nq, width), see `Embeddings.vectors`.
        vectors: (n, width).
    """
    if metric is Metric.COSINE:
        return clipped(queries @ vectors.T)
    a, b = _words(queries), _words(vectors)
    out = np.zeros((len(a), len(b)), np.int32)
    for word in range(a.shape[1]):
        out += np.bitwise_count(a[:, word, None] ^ b[None, :, word])
    return out


def on_grid(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Unit vectors as whole numbers of 2**-26, for `grid_distances`."""
    return np.asarray(np.rint(vectors * np.float64(_GRID)))


def grid_distances(queries: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    """Cosine distances (nq, n) of (nq, d) and (n, d) vectors from `on_grid`: the same bytes on every machine, however many there
    are, in whatever order they come.

    Sums of float32 products depend on the processor, the number of threads and the place in the matrix: BLAS cuts them as it
    likes. Here products are whole numbers of 2**-52, and their sums below 2 (unit vectors), so that float64 holds each exactly,
    and order does not matter. Rounding to the grid moves a distance by less than 1e-7.
    """
    return clipped((queries @ vectors.T * _GRID**-2).astype(np.float32))


def paired_distances(metric: Metric, queries: NDArray[Any], vectors: NDArray[Any]) -> Distances:
    """Distances of each query to vectors of its own: (nq, width) and (nq, m, width) -> (nq, m)."""
    if metric is Metric.COSINE:
        return clipped(np.einsum("qd,qmd->qm", queries, vectors))
    differing: NDArray[np.int32] = np.bitwise_count(_words(queries)[:, None, :] ^ _words(vectors)).sum(axis=2, dtype=np.int32)
    return differing


def neighbours(metric: Metric, queries: NDArray[Any], vectors: NDArray[Any], k: int) -> Neighbours:
    """The k nearest of `vectors` for each query, equal distances by row."""
    step = max(1, _PAIRS // max(1, len(vectors)))
    starts = range(0, max(1, len(queries)), step)
    parts = [nearest_of(metric, distances(metric, queries[start : start + step], vectors), k) for start in starts]
    return Neighbours(
        *(np.concatenate(column) for column in zip(*((p.rows, p.distances, p.mirrored) for p in parts), strict=True))
    )


def nearest_of(metric: Metric, apart: Distances, k: int) -> Neighbours:
    """The k nearest by (nq, n) distances, equal ones by row."""
    rows = np.full((len(apart), k), -1, np.int64)
    nearest = nothing_found(metric, rows.shape)
    take = min(k, apart.shape[1])
    order = np.argsort(apart, axis=1, kind="stable")[:, :take]
    rows[:, :take] = order
    nearest[:, :take] = np.take_along_axis(apart, order, axis=1)
    return Neighbours(rows, nearest, np.zeros(rows.shape, bool))


def nothing_found(metric: Metric, shape: tuple[int, int]) -> Distances:
    """What stands where there is no neighbour: the largest distance of the type."""
    if metric is Metric.HAMMING:
        return np.full(shape, np.iinfo(np.int32).max, np.int32)
    return np.full(shape, np.finfo(np.float32).max, np.float32)


def clipped(products: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine distances of inner products of unit vectors; rounding must not make one negative."""
    return np.asarray(np.maximum(1 - products, 0), np.float32)


def _words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(..., bytes) uint8 -> (..., bytes / 8) uint64."""
    return np.ascontiguousarray(codes).view(np.uint64)
