"""Parts: what is kept comes back, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from embeddings.pipeline import FileResult, FrameInfo
from embeddings.types import Embeddings, EmbeddingSpec, Features, Metric
from indexer.build.parts import Parts
from indexer.build.sources import content_key

SPEC = EmbeddingSpec("v", 16, Metric.HAMMING)
FILES = [FileResult((FrameInfo(3, 4, "L"),)), FileResult((), "bad"), FileResult((FrameInfo(5, 6, "RGB"),) * 2)]
KEYS = ["a" * 64, "b" * 64, "c" * 64 + ".dcm"]


def some_vectors(seed: int = 0) -> dict[str, Embeddings]:
    vectors = np.random.default_rng(seed).integers(0, 256, (3, 2), dtype=np.uint8)
    return {"v": Embeddings(SPEC, vectors, np.array([True, False, False]))}


def test_vectors_come_back_by_content(tmp_path: Path) -> None:
    parts, made = Parts(tmp_path, "stamp"), some_vectors()
    parts.add(KEYS, FILES, made)
    places = parts.places()
    assert {key: (place.start, place.frames) for key, place in places.items()} == {
        KEYS[0]: (0, FILES[0].frames),
        KEYS[2]: (1, FILES[2].frames),
    }
    vectors, blank = places[KEYS[2]].source.read("v", 1, 3)
    assert np.array_equal(vectors, made["v"].vectors[1:])
    assert blank.tolist() == [False, False]
    assert Parts(tmp_path, "another stamp").places() == {}
    assert set(Parts(tmp_path, "stamp").places()) == set(places)


def test_the_same_chunk_written_again_is_read_anew(tmp_path: Path) -> None:
    for seed in range(3):
        parts, made = Parts(tmp_path, "stamp"), some_vectors(seed)
        parts.add(KEYS, FILES, made)
        assert np.array_equal(parts.places()[KEYS[0]].source.read("v", 0, 3)[0], made["v"].vectors)


@pytest.mark.parametrize("lengths", [[1, 1, 1], [0, 4, 0], [2, 0, 3], [0, 0, 0]])
def test_features_of_any_number_come_back(lengths: list[int], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = [rng.integers(0, 256, (length, 5), dtype=np.uint8) for length in lengths]
    features = {"v": Features(values, np.array([length == 0 for length in lengths]))}
    parts = Parts(tmp_path, "stamp")
    assert parts.features(KEYS, ["v"]) is None
    parts.add_features(KEYS, FILES, features)
    kept = parts.features(KEYS, ["v"])
    assert kept is not None
    assert list(kept.keys) == [KEYS[0], KEYS[2]]
    assert [file.frames for file in kept.files] == [FILES[0].frames, FILES[2].frames]
    assert all(np.array_equal(a, b) for a, b in zip(kept.features["v"].values, values, strict=True))
    assert np.array_equal(kept.features["v"].blank, features["v"].blank)
    assert parts.features(KEYS[:2], ["v"]) is None  # another chunk
    assert Parts(tmp_path, "another stamp").features(KEYS, ["v"]) is None
    parts.drop_features()
    assert parts.features(KEYS, ["v"]) is None


def test_a_chunk_of_bad_files_leaves_nothing(tmp_path: Path) -> None:
    parts = Parts(tmp_path, "stamp")
    parts.add_features(KEYS[1:2], FILES[1:2], {"v": Features([], np.zeros(0, bool))})
    parts.add(KEYS[1:2], FILES[1:2], {"v": Embeddings(SPEC, np.zeros((0, 2), np.uint8), np.zeros(0, bool))})
    assert list(tmp_path.iterdir()) == []


def test_what_was_learned_comes_back_for_its_sample_only(tmp_path: Path) -> None:
    parts = Parts(tmp_path, "stamp")
    learned = {"v": {"words": np.arange(6, dtype=np.float32).reshape(2, 3)}, "none": {}}
    assert parts.learned("sample", learned) is None
    parts.write_learned("sample", learned)
    again = parts.learned("sample", learned)
    assert again is not None
    assert again["none"] == {}
    assert np.array_equal(again["v"]["words"], learned["v"]["words"])
    assert parts.learned("another sample", learned) is None
    assert Parts(tmp_path, "another stamp").learned("sample", learned) is None


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".synthtrace-0123456789abcdef.part").write_bytes(b"half")
    Parts(tmp_path, "stamp")
    assert list(tmp_path.iterdir()) == []


def test_damaged_parts_count_as_missing(tmp_path: Path) -> None:
    parts = Parts(tmp_path, "stamp")
    parts.add(KEYS, FILES, some_vectors())
    parts.write_learned("sample", {"v": {}})
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert Parts(tmp_path, "stamp").places() == {}
    assert parts.learned("sample", ["v"]) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a.png", "b/c.JPG", True),
        ("a.png", "a.nii", False),
        ("a.nii", "a.nii.gz", False),
        ("a.NII.gz", "b.nii.gz", True),
        ("1.2.840.1", "1.2.840.2", True),
        ("a.dcm", "a", False),
        ("a.\udcff", "a", True),
    ],
)
def test_names_count_where_they_decide_how_a_content_is_read(one: str, other: str, same: bool) -> None:
    keys = content_key("0" * 64, one), content_key("0" * 64, other)
    assert (keys[0] == keys[1]) is same
    assert all(key.startswith("0" * 64) and key.isascii() for key in keys)
