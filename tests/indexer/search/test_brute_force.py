"""Brute force against plain loops."""

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.types import Metric
from indexer.search import brute_force


def codes(n: int, seed: int, width: int = 32) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, width), dtype=np.uint8)


def units(n: int, seed: int, dim: int = 24) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(n, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def by_loops(metric: Metric, queries: NDArray[np.generic], vectors: NDArray[np.generic]) -> list[list[float]]:
    if metric is Metric.COSINE:
        return [[1 - float(np.dot(q.astype(float), v.astype(float))) for v in vectors] for q in queries]
    return [[sum(bin(a ^ b).count("1") for a, b in zip(q.tolist(), v.tolist(), strict=True)) for v in vectors] for q in queries]


CASES = [
    (Metric.HAMMING, codes(7, 0), codes(40, 1)),
    (Metric.HAMMING, codes(7, 0, 8), codes(40, 1, 8)),
    (Metric.COSINE, units(7, 0), units(40, 1)),
]


@pytest.mark.parametrize(("metric", "queries", "vectors"), CASES)
def test_distances_equal_plain_loops(metric: Metric, queries: NDArray[np.generic], vectors: NDArray[np.generic]) -> None:
    got = brute_force.distances(metric, queries, vectors)
    assert got.dtype == (np.int32 if metric is Metric.HAMMING else np.float32)
    assert np.allclose(got, by_loops(metric, queries, vectors), atol=1e-6)
    picked = np.array([[3, 1, 3], [0, 39, 7]] * 4)[:7]
    paired = brute_force.paired_distances(metric, queries, vectors[picked])
    assert paired.dtype == got.dtype
    assert np.allclose(paired, np.take_along_axis(got, picked, axis=1), atol=1e-6)


@pytest.mark.parametrize(("metric", "queries", "vectors"), CASES)
@pytest.mark.parametrize("k", [1, 5, 40, 60])
def test_neighbours_are_the_sorted_pairs_of_distance_and_row(
    metric: Metric, queries: NDArray[np.generic], vectors: NDArray[np.generic], k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.vstack([vectors, vectors[:9]])  # ties
    monkeypatch.setattr(brute_force, "_PAIRS", 100)  # several steps
    found = brute_force.neighbours(metric, queries, vectors, k)
    whole = brute_force.distances(metric, queries, vectors)
    for query in range(len(queries)):
        pairs = sorted(zip(whole[query].tolist(), range(len(vectors)), strict=True))[:k]
        rows, distances = found.rows[query], found.distances[query]
        assert np.allclose(distances[: len(pairs)], [distance for distance, _ in pairs], rtol=0, atol=1e-6)
        if metric is Metric.HAMMING:
            assert rows[: len(pairs)].tolist() == [row for _, row in pairs]
        else:  # equal vectors lie a rounding error apart
            assert len(set(rows[: len(pairs)])) == len(pairs)
            assert np.allclose(whole[query, rows[: len(pairs)]], distances[: len(pairs)], rtol=0, atol=1e-6)
        assert (rows[len(pairs) :] == -1).all()
        assert (distances[len(pairs) :] == brute_force.nothing_found(metric, (1, 1))[0, 0]).all()


@pytest.mark.parametrize("metric", Metric)
def test_nothing_to_find_and_nobody_who_asks(metric: Metric) -> None:
    vectors = codes(4, 0) if metric is Metric.HAMMING else units(4, 0)
    none = vectors[:0]
    assert brute_force.distances(metric, none, vectors).shape == (0, 4)
    assert brute_force.distances(metric, vectors, none).shape == (4, 0)
    assert brute_force.neighbours(metric, none, vectors, 3).rows.shape == (0, 3)
    assert (brute_force.neighbours(metric, vectors, none, 3).rows == -1).all()


def test_the_distance_of_a_vector_to_itself_is_never_negative() -> None:
    vectors = units(500, 3, 257)
    distances = brute_force.distances(Metric.COSINE, vectors, vectors)
    assert distances.min() >= 0
    assert np.diag(distances).max() < 1e-6
