"""Distance matrices by kernels for a GPU against NumPy."""

import numpy as np
import pytest

from embeddings.gpu.distances import distances
from embeddings.types import EmbeddingSpec, Metric
from indexer.search import brute_force
from query.comparison.reductions.sides import GeneratedVectors, RealVectors
from query.comparison.reductions.tile import ViewTile

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("bits", [64, 256])
def test_hamming_distances_are_exact(bits: int) -> None:
    queries, codes = (RNG.integers(0, 256, (n, bits // 8), dtype=np.uint8) for n in (30, 70))
    codes[:2] = queries[0], ~queries[0]
    truth = brute_force.distances(Metric.HAMMING, queries, codes)
    assert truth[0, :2].tolist() == [0, bits]
    assert np.array_equal(distances(Metric.HAMMING, queries, codes, "cpu"), truth)


def test_cosine_distances_agree_within_rounding() -> None:
    rows = RNG.normal(size=(90, 256)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    truth = brute_force.distances(Metric.COSINE, rows[:20], rows)
    found = distances(Metric.COSINE, rows[:20], rows, "cpu")
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert np.abs(found - truth).max() <= brute_force.ROUNDING


def test_tiles_are_computed_where_they_are_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def noted(metric: Metric, one: np.ndarray, other: np.ndarray, device: str) -> np.ndarray:
        asked.append((device, len(other)))
        return distances(metric, one, other, "cpu")

    monkeypatch.setattr("embeddings.gpu.distances.distances", noted)
    codes, blank = RNG.integers(0, 256, (9, 8), dtype=np.uint8), np.zeros(9, bool)
    spec = EmbeddingSpec("bits", 64, Metric.HAMMING)
    cpu, gpu = (
        ViewTile(RealVectors(spec, codes, codes[::-1], blank, device), GeneratedVectors(codes, blank), 64)
        for device in ("cpu", "cuda:1")
    )
    assert np.array_equal(cpu.distances, gpu.distances)
    assert asked == [("cuda:1", 64)] * 2  # one shape, however tiles are cut
