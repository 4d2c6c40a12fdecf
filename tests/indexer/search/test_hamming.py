"""Exact search of codes by blocks gives what brute force gives, ties included, whatever the order of the codes."""

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec, Metric
from indexer.search import brute_force, faiss_index, hamming
from indexer.types import IndexSpec

ORDERS = ("as they come", "nearest last", "nearest first", "all equal")


def codes_of(count: int, bits: int, order: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Codes of which only the first two bytes differ, so that most distances are shared by many."""
    codes = np.zeros((count, bits // 8), np.uint8)
    if order != "all equal":
        codes[:, :2] = rng.integers(0, 256, (count, 2))
    ones = np.bitwise_count(codes).sum(axis=1)
    if order == "nearest last":
        codes = codes[np.argsort(-ones.astype(int), kind="stable")]
    if order == "nearest first":
        codes = codes[np.argsort(ones, kind="stable")]
    return codes


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("queries", "count", "k", "bits"), [(1, 9_000, 10, 256), (40, 9_000, 3, 64), (150, 7_777, 40, 256), (2, 5, 5, 256)]
)
def test_nearest_is_brute_force(order: str, queries: int, count: int, k: int, bits: int) -> None:
    rng = np.random.default_rng([queries, count])
    codes = codes_of(count, bits, order, rng)
    asked = codes_of(queries, bits, "as they come", rng)
    asked[::2] = 0  # nearest last: every code is a candidate when it comes
    truth = brute_force.neighbours(Metric.HAMMING, asked, codes, k)
    found = hamming.nearest(asked, codes, k)
    np.testing.assert_array_equal(found.rows, truth.rows)
    np.testing.assert_array_equal(found.distances, truth.distances)
    assert found.distances.dtype == truth.distances.dtype


@pytest.mark.parametrize("threads", [1, 3])
def test_nearest_does_not_depend_on_threads_and_sizes_of_blocks(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    codes, asked = codes_of(3_000, 256, "as they come", rng), codes_of(50, 256, "as they come", rng)
    truth = hamming.nearest(asked, codes, 12)
    monkeypatch.setattr(faiss, "omp_get_max_threads", lambda: threads)
    monkeypatch.setattr(hamming, "_QUERIES", 7)
    monkeypatch.setattr(hamming, "_PAIRS", 700)
    monkeypatch.setattr(hamming, "_PIECE", 32)
    monkeypatch.setattr(hamming, "_PENDING", 50)
    np.testing.assert_array_equal(hamming.nearest(asked, codes, 12).rows, truth.rows)


def test_all_distances_are_brute_force() -> None:
    rng = np.random.default_rng(1)
    first, second = (rng.integers(0, 256, (count, 32), np.uint8) for count in (37, 301))
    ours = hamming.distances(first[::2], second)
    np.testing.assert_array_equal(ours, brute_force.distances(Metric.HAMMING, first[::2], second))
    assert hamming.distances(first, second[:0]).shape == (37, 0)


def test_a_large_index_is_searched_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    codes, asked = (rng.integers(0, 256, (count, 32), np.uint8) for count in (2_000, 40))
    index = faiss_index.build(EmbeddingSpec("phash", 256, Metric.HAMMING), codes, IndexSpec())
    expected = faiss_index.search(index, Metric.HAMMING, asked, 10)
    monkeypatch.setattr(hamming, "_LEAST_CODES", 2_000)
    monkeypatch.setattr(index, "search", None)  # FAISS's own is not called any more
    found = faiss_index.search(index, Metric.HAMMING, asked, 10)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_a_scan_over_shards_counts_every_pair_and_finds_the_nearest_of_all() -> None:
    rng = np.random.default_rng(5)
    queries, codes = (np.packbits(rng.random((count, 256)) < 0.2, axis=1) for count in (40, 9000))
    codes[123], codes[8000] = queries[3], ~queries[5]  # distances 0 and 256
    counts = hamming.Counts(np.zeros(257, np.int64))
    scan = hamming.Scan(queries, 20, counts)
    for start in range(0, len(codes), 1700):
        scan.add(codes[start : start + 1700], start)
    counts.finish()
    near, expected = scan.nearest(), brute_force.neighbours(Metric.HAMMING, queries, codes, 20)
    assert np.array_equal(near.rows, expected.rows)
    assert np.array_equal(near.distances, expected.distances)
    every = brute_force.distances(Metric.HAMMING, queries, codes)
    assert np.array_equal(counts.at, np.bincount(every.ravel(), minlength=257))
