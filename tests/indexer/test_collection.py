"""A finished collection: what it gives, what it refuses, what it notices."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from indexer import collection
from indexer.build.build import build
from indexer.collection import Collection, view_files
from indexer.manifest import FORMAT, CollectionError
from indexer.search import brute_force, faiss_gpu, faiss_index
from indexer.types import NoGpu
from tests.helpers.making import QUICK, slice_of, tree, write_images


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    write_images(folder / "images", range(20))
    build(folder / "name=value", folder / "images", settings=QUICK, device="cpu")  # pyarrow reads columns from such a path
    return folder / "name=value"


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "copy"))


@pytest.mark.parametrize("view", QUICK.views)
def test_search_equals_brute_force(view: str, kept: Path) -> None:
    made = Collection(kept)
    queries = made.embed(view, [slice_of(seed) for seed in range(100, 130)]).vectors
    found, truth = made.nearest(view, queries, 7), brute_force.neighbours(made.spec(view).metric, queries, made.vectors(view), 7)
    assert np.allclose(found.distances, truth.distances, rtol=0, atol=brute_force.ROUNDING)
    assert np.mean(found.rows == truth.rows) > 0.95  # all but ties
    assert not found.mirrored.any()


def test_few_codes_are_found_without_faiss_as_with_it(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, whole = Collection(kept), Collection(kept)
    codes = np.concatenate([quick.vectors("phash"), quick.embed("phash", [slice_of(seed) for seed in range(100, 130)]).vectors])
    monkeypatch.setattr(collection, "_QUICK", 0)
    expected = whole.nearest("phash", codes, 25)  # more than there are
    monkeypatch.setattr(collection, "_QUICK", 10**9)
    monkeypatch.setattr(faiss_index, "search", None)  # it would fail
    found = quick.nearest("phash", codes, 25)
    for name in ("rows", "distances", "mirrored"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype


def test_several_threads_may_search_and_embed(kept: Path) -> None:
    made = Collection(kept)
    queries = made.vectors("sift")
    expected = made.nearest("sift", queries, 5)
    wrong = []

    def ask() -> None:
        for _ in range(5):
            found = made.nearest("sift", queries, 5)
            if not np.array_equal(found.rows, expected.rows):
                wrong.append("rows")
            if not np.array_equal(made.embed("sift", [slice_of(3)]).vectors[0], queries[3]):
                wrong.append("vectors")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_it_tells_of_its_images(kept: Path) -> None:
    made = Collection(kept)
    assert len(made) == 20
    assert made.views == ("phash", "sift")
    assert made.names == [f"{seed:03d}.png" for seed in range(20)]
    assert made.path(3) == kept.parent / "images" / "003.png"
    assert made.images["row"].to_pylist() == list(range(20))
    assert "value" not in made.table.column_names
    assert made.blank("sift").tolist() == [False] * 20


def test_an_unknown_view_is_refused(kept: Path) -> None:
    made = Collection(kept)
    for ask in (made.spec, made.vectors, made.learned, made.embedder):
        with pytest.raises(CollectionError, match="has no view 'resnet'; it has phash, sift"):
            ask("resnet")


def test_check_names_every_changed_or_missing_file(copy: Path) -> None:
    assert Collection(copy).check() == []
    names = [name for name in tree(copy) if (copy / name).is_file() and name not in ("manifest.json", "salt", ".synthtrace-lock")]
    assert len(names) == 8
    for name in names:
        whole = (copy / name).read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            (copy / name).write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
            assert Collection(copy).check() == [f"{copy / name}: its bytes have changed since it was written"]
        (copy / name).unlink()
        assert Collection(copy).check() == [f"{copy / name}: No such file or directory"]
        (copy / name).write_bytes(whole)


def test_changed_bytes_are_noticed_before_use(copy: Path) -> None:
    """FAISS would load an index with flipped bits without a word."""
    made = Collection(copy)
    files = {name for view in made.views for name in view_files(view).values()} | {"images.parquet"}
    for name in files:
        data = bytearray((copy / name).read_bytes())
        data[-3] ^= 1
        (copy / name).write_bytes(data)
    queries = np.zeros((1, 32), np.uint8)
    for use in (
        lambda: made.nearest("phash", queries, 1),
        lambda: made.vectors("phash"),
        lambda: made.learned("sift"),
        lambda: made.embedder("sift"),
        lambda: made.table,
        lambda: made.blank("sift"),
    ):
        with pytest.raises(CollectionError, match="its bytes have changed since it was written; build the collection again"):
            use()


def test_a_file_is_checked_once(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file is not read whole for every call."""
    made = Collection(copy)
    made.vectors("phash")
    monkeypatch.setattr("indexer.manifest.sha256_of", lambda _: pytest.fail("checked again"))
    made.vectors("phash")


def test_another_format_is_refused(copy: Path) -> None:
    values = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**values, "format_version": 99}))
    with pytest.raises(CollectionError, match=f"has format 99, this synthtrace reads format {FORMAT}; build the"):
        Collection(copy)


def test_a_view_that_became_another_is_refused(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an update of synthtrace that changed a constant: the vectors of a query would not fit those in store."""
    from embeddings.types import EmbeddingSpec, Metric
    from embeddings.views.phash import PHash

    spec = EmbeddingSpec("phash", 256, Metric.HAMMING, {"oversampling": 8})
    monkeypatch.setattr(PHash, "spec", property(lambda _: spec))
    with pytest.raises(CollectionError, match=r"phash decoding: .* here, None there; phash oversampling: None here, 8 there"):
        Collection(kept).embedder("phash")


def test_collections_with_other_eyes_are_not_comparable(kept: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "images", range(30, 40))
    other = build(tmp_path / "c", tmp_path / "images", settings=QUICK, device="cpu")
    made = Collection(kept)
    made.comparable(other, ["phash"])  # nothing learned
    with pytest.raises(CollectionError, match=r"cannot be compared: sift learned: .* here, .* there"):
        made.comparable(other, ["phash", "sift"])


@pytest.mark.skipif(faiss_gpu.gpus() > 0, reason="there is a GPU here")
def test_without_a_gpu_searching_on_one_is_refused(kept: Path) -> None:
    made = Collection(kept)
    with pytest.raises(NoGpu):
        made.nearest("phash", made.vectors("phash"), 1, "cuda:0")
    assert made.devices().search == "cpu"
    with pytest.raises(NoGpu):
        made.devices("cuda")


def test_reading_writes_nothing(kept: Path) -> None:
    before = tree(kept)
    made = Collection(kept)
    for view in made.views:
        made.nearest(view, made.vectors(view), 3)
        made.embed(view, [slice_of(0)])
        with pytest.raises(ValueError, match="read-only"):
            made.vectors(view)[0] = 0
    assert made.check() == []
    assert tree(kept) == before
