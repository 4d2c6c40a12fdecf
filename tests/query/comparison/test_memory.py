"""Memory of comparing all pairs: it does not grow with the vectors of the generated side; what each image keeps is bounded."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from embeddings.types import EmbeddingSpec, Metric
from query.comparison import all_pairs as module
from query.comparison.all_pairs import Wanted, all_pairs, k_of_generated
from query.comparison.reductions import tile
from query.comparison.reductions.driver import OneByOne
from query.comparison.reductions.rivals import Rivals
from query.comparison.reductions.sides import GeneratedVectors, RealVectors, Shard
from query.membership.proximity import Kind, Measure, Measures
from tests.helpers.sides import codes

REALS, WIDTH, SHARD = 20, 512, 512
SPECS = {"phash": EmbeddingSpec("phash", 256, Metric.HAMMING), "sift": EmbeddingSpec("sift", WIDTH, Metric.COSINE)}


def vectors(view: str, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if view == "phash":
        return codes(rng, count)
    rows = rng.standard_normal((count, WIDTH), dtype=np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def shards(count: int) -> Iterator[Shard]:
    """Drawn when they are asked for, and held by nobody."""
    for start in range(0, count, SHARD):
        blank = np.zeros(SHARD, bool)
        yield Shard(start, {name: GeneratedVectors(vectors(name, SHARD, 1 + start), blank) for name in SPECS})


def peak(generated: int) -> int:
    """Bytes, of all pairs with all measures but residual and attribution, which take long."""
    reals = {name: RealVectors(spec, vectors(name, REALS, 0), None, np.zeros(REALS, bool)) for name, spec in SPECS.items()}
    kinds = (Kind.NEAREST, Kind.CONTEST, Kind.OCCURRENCES)
    measures = Measures(
        reals,
        Rivals.of(np.arange(REALS), next(iter(reals.values())).vectors),
        [Measure(view, kind, 10) for view in SPECS for kind in kinds],
    )
    tracemalloc.start()
    wanted = Wanted(50, k_of_generated(50, generated), list(SPECS))
    all_pairs(reals, OneByOne(lambda: shards(generated)), wanted, measures.reductions)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_memory_grows_by_what_each_generated_image_keeps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 neighbours of 13 bytes in two views and the combined one, 8 more while these are sorted out, and moments of 16 twice."""
    monkeypatch.setattr(tile, "_WIDEST", SHARD)
    monkeypatch.setattr(module, "_ORDINARY", 1000)
    monkeypatch.setattr(module, "_MOST", 1000)
    few, many = 4_096, 16_384
    grown = (peak(many) - peak(few)) / (many - few)
    kept = 10 * (3 * 13 + 8) + 2 * 2 * 16
    assert grown < 1.3 * kept
    assert grown < (32 + 4 * WIDTH) / 3  # less than the vectors


def test_neighbours_of_very_many_generated_images_are_bounded() -> None:
    assert [k_of_generated(50, count) for count in (1, 10_000, 100_000)] == [50, 50, 50]
    assert [k_of_generated(50, count) for count in (100_001, 200_000, 500_000, 1_000_000)] == [49, 25, 10, 10]
    assert [k_of_generated(k, 10_000_000) for k in (3, 10, 50)] == [3, 10, 10]
