"""Distance matrices by kernels for a GPU against NumPy."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.gpu.distances import Distances
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
    assert np.array_equal(Distances(Metric.HAMMING, queries, "cpu").to(codes), truth)


def test_cosine_distances_agree_within_rounding() -> None:
    rows = RNG.normal(size=(90, 256)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    truth = brute_force.distances(Metric.COSINE, rows[:20], rows)
    found = Distances(Metric.COSINE, rows[:20], "cpu").to(rows)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert np.abs(found - truth).max() <= brute_force.ROUNDING


def test_tiles_are_computed_where_they_are_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    make, to = Distances.__init__, Distances.to

    def made(self: Distances, metric: Metric, vectors: NDArray[Any], device: str) -> None:
        asked.append(device)
        make(self, metric, vectors, "cpu")

    def noted(self: Distances, others: NDArray[Any]) -> NDArray[np.float32]:
        asked.append(str(len(others)))
        return to(self, others)

    monkeypatch.setattr(Distances, "__init__", made)
    monkeypatch.setattr(Distances, "to", noted)
    codes, blank = RNG.integers(0, 256, (9, 8), dtype=np.uint8), np.zeros(9, bool)
    spec = EmbeddingSpec("bits", 64, Metric.HAMMING)
    reals = [RealVectors(spec, codes, codes[::-1], blank, device) for device in ("cpu", "cuda:1")]
    cpu, gpu = (ViewTile(real, GeneratedVectors(codes, blank), 64) for real in reals)
    assert np.array_equal(cpu.plain, gpu.plain)
    assert np.array_equal(cpu.to_side(1), gpu.to_side(1))
    assert asked == ["cuda:1", "cuda:1", "64", "64"]  # uploaded once; one shape, however tiles are cut
