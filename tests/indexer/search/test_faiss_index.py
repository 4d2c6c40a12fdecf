"""FAISS against brute force; saving against full disks and flipped bits."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.files.writing import FullDisk
from embeddings.types import EmbeddingSpec, Metric
from indexer.search import brute_force, faiss_index
from indexer.search.faiss_index import IndexProblem, build, empty, is_exact, load, measured_recall, save, search, search_ranked
from indexer.search.merging import merge_in_order
from indexer.types import IndexSpec

BITS = EmbeddingSpec("bits", 256, Metric.HAMMING)
FLOATS = EmbeddingSpec("floats", 48, Metric.COSINE)
EXACT = IndexSpec()


def vectors_of(spec: EmbeddingSpec, n: int, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if spec.metric is Metric.HAMMING:
        return rng.integers(0, 256, (n, spec.width), dtype=np.uint8)
    centres = rng.normal(size=(20, spec.dim))
    vectors = centres[rng.integers(0, 20, n)] + 0.5 * rng.normal(size=(n, spec.dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def assert_same_neighbours(spec: EmbeddingSpec, index: Any, queries: NDArray[Any], vectors: NDArray[Any], k: int) -> None:
    """Distances equal; rows equal but for the choice among equally far ones; each row at the distance that is told."""
    found, truth = search(index, spec.metric, queries, k), brute_force.neighbours(spec.metric, queries, vectors, k)
    assert found.distances.dtype == truth.distances.dtype
    tolerance = 0 if spec.metric is Metric.HAMMING else brute_force.ROUNDING
    assert np.allclose(found.distances, truth.distances, rtol=0, atol=tolerance)
    assert np.array_equal(found.rows < 0, truth.rows < 0)
    for query, rows, distances in zip(queries, found.rows, found.distances, strict=True):
        rows, distances = rows[rows >= 0], distances[rows >= 0]
        assert len(set(rows.tolist())) == len(rows)
        own = brute_force.distances(spec.metric, query[None], vectors[rows])[0]
        assert np.allclose(own, distances, rtol=0, atol=tolerance)
        assert all(a < b or c < d for a, b, c, d in zip(distances, distances[1:], rows, rows[1:], strict=False))


@pytest.mark.parametrize("spec", [BITS, FLOATS, EmbeddingSpec("short", 64, Metric.HAMMING)], ids=lambda spec: spec.view)
@pytest.mark.parametrize(("n", "k"), [(500, 10), (500, 500), (7, 20), (1, 1), (1, 3), (0, 4)])
def test_exact_search_equals_brute_force(spec: EmbeddingSpec, n: int, k: int, tmp_path: Path) -> None:
    vectors, queries = vectors_of(spec, n), vectors_of(spec, 30, seed=1)
    index = build(spec, vectors, EXACT)
    assert is_exact(index)
    assert_same_neighbours(spec, index, queries, vectors, k)
    save(index, tmp_path / "i.faiss")
    loaded = loaded_from(tmp_path / "i.faiss", spec.metric)
    assert is_exact(loaded)
    assert_same_neighbours(spec, loaded, queries, vectors, k)


@pytest.mark.parametrize("spec", [BITS, FLOATS], ids=lambda spec: spec.view)
def test_duplicates_are_all_found(spec: EmbeddingSpec) -> None:
    vectors = vectors_of(spec, 40)[np.arange(200) % 40]
    found = search(build(spec, vectors, EXACT), spec.metric, vectors[:40], 5)
    rows = found.rows if spec.metric is Metric.HAMMING else np.sort(found.rows)  # a rounding error apart in floats
    assert rows.tolist() == [[row, row + 40, row + 80, row + 120, row + 160] for row in range(40)]
    assert np.allclose(found.distances, 0, atol=1e-6)
    assert (found.distances >= 0).all()
    assert_same_neighbours(spec, build(spec, vectors, EXACT), vectors[:10], vectors, 12)


@pytest.mark.parametrize("spec", [BITS, FLOATS], ids=lambda spec: spec.view)
def test_nobody_asks_or_nothing_is_wanted(spec: EmbeddingSpec) -> None:
    index = build(spec, vectors_of(spec, 9), EXACT)
    assert search(index, spec.metric, vectors_of(spec, 0), 3).rows.shape == (0, 3)
    assert search(index, spec.metric, vectors_of(spec, 2), 0).rows.shape == (2, 0)


def test_vectors_are_added_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "_ADD_ROWS", 7)
    vectors = vectors_of(BITS, 50)
    assert_same_neighbours(BITS, build(BITS, vectors, EXACT), vectors[:5], vectors, 9)


APPROXIMATE = [(FLOATS, "IVF64,Flat"), (FLOATS, "HNSW16"), (FLOATS, "PCA8,SQ4"), (BITS, "BIVF16"), (BITS, "BHNSW16")]


@pytest.mark.parametrize(("spec", "factory"), APPROXIMATE, ids=[factory for _, factory in APPROXIMATE])
def test_recall_is_measured_as_an_exact_search_would(spec: EmbeddingSpec, factory: str, tmp_path: Path) -> None:
    vectors = vectors_of(spec, 1000)
    index = build(spec, vectors, IndexSpec(factory=factory, binary_factory=factory))
    assert not is_exact(index)
    save(index, tmp_path / "i.faiss")
    index = loaded_from(tmp_path / "i.faiss", spec.metric)
    recall = measured_recall(index, spec.metric, vectors, 5)
    chosen = np.random.default_rng(5).permutation(1000)[:200]
    whole = brute_force.distances(spec.metric, vectors[chosen], vectors)
    found = search(index, spec.metric, vectors[chosen], 10).rows
    hits = [
        sum(row >= 0 and all_[row] <= np.sort(all_)[9] + 1e-6 for row in rows) for all_, rows in zip(whole, found, strict=True)
    ]
    assert recall == pytest.approx(sum(hits) / 2000)
    assert recall > 0.2
    if "IVF" in factory:  # one cell of many is looked into
        assert recall < 1


THOROUGH = [(FLOATS, "IVF64,Flat", "nprobe=64"), (BITS, "BIVF16", "nprobe=16"), (BITS, "BHNSW4", "efSearch=500")]


@pytest.mark.parametrize(("spec", "factory", "setting"), THOROUGH, ids=[factory for _, factory, _ in THOROUGH])
def test_a_thorough_search_finds_all_also_when_it_was_saved(
    spec: EmbeddingSpec, factory: str, setting: str, tmp_path: Path
) -> None:
    vectors = vectors_of(spec, 1000)
    recall = {}
    for text in (factory, f"{factory};{setting}"):
        save(build(spec, vectors, IndexSpec(factory=text, binary_factory=text)), tmp_path / "i.faiss")
        recall[text] = measured_recall(loaded_from(tmp_path / "i.faiss", spec.metric), spec.metric, vectors, 5)
    assert recall[factory] < recall[f"{factory};{setting}"]
    assert recall[f"{factory};{setting}"] >= (1 if "IVF" in factory else 0.95)


@pytest.mark.parametrize(
    ("spec", "factory"),
    [
        (FLOATS, "Flat;nprobe=4"),
        (FLOATS, "IVF4,Flat;speed=4"),
        (BITS, "BFlat;nprobe=4"),
        (BITS, "BIVF4;nprobe=0"),
        (BITS, "BIVF4;k=1"),
    ],
)
def test_a_setting_that_an_index_does_not_have_is_named(spec: EmbeddingSpec, factory: str) -> None:
    with pytest.raises(IndexProblem, match=f"cannot make the index '{factory}'"):
        empty(spec, IndexSpec(factory=factory, binary_factory=factory))


@pytest.mark.parametrize("spec", [BITS, FLOATS], ids=lambda spec: spec.view)
def test_an_exact_index_has_recall_one(spec: EmbeddingSpec) -> None:
    for n in (1, 6, 300):
        vectors = vectors_of(spec, n)
        assert measured_recall(build(spec, vectors, EXACT), spec.metric, vectors, 0) == 1
    vectors = vectors_of(spec, 30)[np.zeros(300, int)]  # all equal: any ten are right
    assert measured_recall(build(spec, vectors, EXACT), spec.metric, vectors, 0) == 1


def test_training_is_by_seed() -> None:
    vectors = vectors_of(FLOATS, 1000)
    recalls = []
    for seed in (0, 0, 1):
        index = build(FLOATS, vectors, IndexSpec(factory="IVF8,SQ8", train_size=400, seed=seed))
        recalls.append(search(index, Metric.COSINE, vectors, 10))
    assert np.array_equal(recalls[0].rows, recalls[1].rows)
    assert not np.array_equal(recalls[0].rows, recalls[2].rows)


@pytest.mark.parametrize("factory", ["Foo", "IVF,Flat", "Flat,Flat,Flat", "PQ7", "IVF99999999999999999999,Flat", "IDMap,Flat"])
@pytest.mark.parametrize("spec", [BITS, FLOATS], ids=lambda spec: spec.view)
def test_a_factory_string_without_sense_is_refused_in_one_line(spec: EmbeddingSpec, factory: str) -> None:
    how = IndexSpec(factory=factory, binary_factory=factory)
    with pytest.raises(IndexProblem, match="FAISS cannot make the index") as caught:
        build(spec, vectors_of(spec, 300), how)
    assert factory in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_few_vectors_to_train_are_refused() -> None:
    how = IndexSpec(factory="IVF400,Flat")
    empty(FLOATS, how)  # the string itself is good
    with pytest.raises(IndexProblem, match="400"):
        build(FLOATS, vectors_of(FLOATS, 300), how)


@pytest.mark.parametrize("wrong", [{"factory": ""}, {"binary_factory": ""}, {"train_size": 0}])
def test_index_specs_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"empty|train_size"):
        IndexSpec(**wrong)


# Saving


@pytest.mark.parametrize("spec", [BITS, FLOATS], ids=lambda spec: spec.view)
def test_an_index_is_written_whole_for_its_owner_only(spec: EmbeddingSpec, tmp_path: Path) -> None:
    index = build(spec, vectors_of(spec, 300), EXACT)
    save(index, tmp_path / "i.faiss")
    assert [path.name for path in tmp_path.iterdir()] == ["i.faiss"]
    assert (tmp_path / "i.faiss").stat().st_mode & 0o777 == 0o600
    first = (tmp_path / "i.faiss").read_bytes()
    save(index, tmp_path / "i.faiss")
    assert (tmp_path / "i.faiss").read_bytes() == first


class FullAfter:
    """A file on a disk that takes so many bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def __enter__(self) -> "FullAfter":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, os.strerror(28))
        return int(self.file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 10, 200, 5000])
@pytest.mark.parametrize("spec", [BITS, FLOATS], ids=lambda spec: spec.view)
def test_a_full_disk_leaves_what_was_there(
    spec: EmbeddingSpec, room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = build(spec, vectors_of(spec, 300), EXACT)
    (tmp_path / "i.faiss").write_bytes(b"the one before")
    monkeypatch.setattr("embeddings.files.writing.open", lambda *args: FullAfter(open(*args), room), raising=False)  # noqa: SIM115
    with pytest.raises(FullDisk, match=f"no space left in {tmp_path}; free some"):
        save(index, tmp_path / "i.faiss")
    assert [path.name for path in tmp_path.iterdir()] == ["i.faiss"]
    assert (tmp_path / "i.faiss").read_bytes() == b"the one before"


def loaded_from(path: Path, metric: Metric) -> Any:
    return load(path, memoryview(path.read_bytes()), metric)


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "i.faiss").write_bytes(b"no index at all, but some bytes")
    for metric in Metric:
        with pytest.raises(IndexProblem, match="FAISS cannot read it"):
            loaded_from(tmp_path / "i.faiss", metric)


def test_centroids_trained_once_serve_shards_whose_neighbours_are_ranked_exactly() -> None:
    """Recall over shards, each with the same centroids, is that of one index; distances are those of the vectors."""
    vectors = vectors_of(FLOATS, 3000)
    how = IndexSpec(factory="IVF16,PQ4x4;nprobe=8")
    trained = build(FLOATS, vectors[::3], how)
    whole = build(FLOATS, vectors, how, trained)
    assert (trained.ntotal, whole.ntotal, whole.nprobe) == (1000, 3000, 8)
    queries, starts = vectors[:100], [0, 1000, 2000]
    shards = [build(FLOATS, vectors[start : start + 1000], how, trained) for start in starts]
    parts = [
        search_ranked(shard, Metric.COSINE, queries, vectors[start : start + 1000], 10)
        for shard, start in zip(shards, starts, strict=True)
    ]
    found, truth = merge_in_order(parts, np.array(starts), 10), brute_force.neighbours(Metric.COSINE, queries, vectors, 10)
    exact = brute_force.paired_distances(Metric.COSINE, queries, vectors[found.rows])
    np.testing.assert_allclose(found.distances, exact, atol=brute_force.ROUNDING)
    recall = np.mean([len(np.intersect1d(*rows)) / 10 for rows in zip(found.rows, truth.rows, strict=True)])
    plain = search(whole, Metric.COSINE, queries, 10)
    unranked = np.mean([len(np.intersect1d(*rows)) / 10 for rows in zip(plain.rows, truth.rows, strict=True)])
    assert unranked < 0.7 < 0.9 < recall
    ranked, as_they_are = (measured_recall(whole, Metric.COSINE, vectors, 0, compressed) for compressed in (True, False))
    assert ranked > as_they_are + 0.2
