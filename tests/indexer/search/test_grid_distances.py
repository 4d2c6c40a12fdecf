"""Cosine distances on the grid: right, and the same bytes wherever a vector stands and whatever is computed beside it."""

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from indexer.search import brute_force
from indexer.search.brute_force import grid_distances, on_grid


def units(count: int, dim: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_they_are_right_within_a_unit_of_float32() -> None:
    for dim in (3, 256, 512):
        queries, vectors = units(40, dim, 1), units(60, dim, 2)
        vectors[:5], vectors[5:10] = queries[:5], -queries[:5]  # sums of nearly 1 and -1
        truth = 1 - queries.astype(np.longdouble) @ vectors.astype(np.longdouble).T
        found = grid_distances(on_grid(queries), on_grid(vectors))
        assert found.dtype == np.float32
        assert np.abs(found - truth).max() < 3e-7 < brute_force.ROUNDING


def test_neither_place_nor_number_nor_threads_change_a_byte() -> None:
    """Sums of float32 differ in thousands of places: BLAS cuts products of 200 queries and 2,048 vectors in its own way."""
    queries, vectors = on_grid(units(200, 256, 1)), on_grid(units(2048, 256, 2))
    whole = grid_distances(queries, vectors)
    for size in (1, 7, 55, 1000):
        parts = [grid_distances(queries, vectors[start : start + size]) for start in range(0, 2048, size)]
        assert np.hstack(parts).tobytes() == whole.tobytes()
    with threadpool_limits(1):
        assert grid_distances(queries, vectors).tobytes() == whole.tobytes()
    assert np.ascontiguousarray(grid_distances(vectors, queries).T).tobytes() == whole.tobytes()
