"""The nearest vectors against sorting every distance."""

import numpy as np
import pytest

from embeddings.types import EmbeddingSpec, Metric
from query.duplication import candidates
from tests.helpers.sides import codes, plain_distance, units

COUNT, K = 23, 4


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("pairs", [10, 4_000_000])  # in parts of one row, and at once
def test_nearest_is_as_sorting_every_distance(metric: Metric, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_PAIRS", pairs)
    rng = np.random.default_rng(0)
    asking, found = (codes(rng, COUNT) if metric is Metric.HAMMING else units(rng, COUNT) for _ in range(2))
    labels = rng.integers(0, 5, (COUNT, 2))
    seen = rng.random(COUNT) < 0.8
    rows, distances = candidates.nearest(EmbeddingSpec("v", 256, metric), (asking, found), labels, seen, K)
    for query in range(COUNT):
        allowed = [row for row in range(COUNT) if seen[row] and not (labels[row] == labels[query]).any()]
        by_hand = sorted(plain_distance(metric, asking[query], found[row]) for row in allowed)[:K]
        there = rows[query] >= 0
        assert there.sum() == len(by_hand)
        assert distances[query][there] == pytest.approx(by_hand, abs=1e-5)
        assert set(rows[query][there].tolist()) <= set(allowed)
        assert np.isinf(distances[query][~there]).all()
