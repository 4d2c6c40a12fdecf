"""Groups: tables and patterns, and near-duplicates against every pair compared in float64."""

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from embeddings.phantoms.slices import copy_of, phantom
from query.inputs.groups import GroupsError, groups_from_pattern, read_groups
from query.inputs.near_duplicates import near_duplicate_groups, thumbnail


def test_pattern() -> None:
    names = ["p1/s1.png", "p1/s2.png", "p2/s1.png", "extra.png"]
    assert groups_from_pattern(names, r"^p\d+") == dict(zip(names, ["p1", "p1", "p2", "extra.png"], strict=True))
    assert groups_from_pattern(names, r"p(\d+)/s(\d)") == dict(zip(names, ["1", "1", "2", "extra.png"], strict=True))
    assert groups_from_pattern(names, r"^(p1)?") == dict(zip(names, ["p1", "p1", *names[2:]], strict=True))
    assert groups_from_pattern([], "x") == {}


def test_bad_pattern() -> None:
    with pytest.raises(GroupsError, match=r"pattern '\(': not a regular expression"):
        groups_from_pattern(["a"], "(")
    with pytest.raises(GroupsError, match=r"pattern 'x\+': matches no name, for example not 'a\.png'"):
        groups_from_pattern(["a.png", "b.png"], "x+")


def every_pair(thumbnails: NDArray[np.uint8], threshold: float) -> NDArray[np.int64]:
    """Breadth-first search over NumPy's own correlation matrix, in float64."""
    flat = thumbnails.reshape(len(thumbnails), -1)
    busy = flat.std(axis=1) >= 1
    with np.errstate(all="ignore"):
        correlation = np.nan_to_num(np.corrcoef(flat))
    assert np.abs(correlation - threshold).min() > 2e-5  # else float32 could differ
    alike = (correlation >= threshold) & busy & busy[:, None]
    groups = np.full(len(flat), -1)
    for start in range(len(flat)):
        waiting = [start] if groups[start] < 0 else []
        number = groups.max() + 1
        while waiting:
            image = waiting.pop()
            groups[image] = number
            waiting.extend(np.flatnonzero(alike[image] & (groups < 0)))
    return groups


def crowd(seed: int, count: int) -> NDArray[np.uint8]:
    """(count, 64, 64): walks that drift away from a few starts in small steps, noise, and blank images, shuffled."""
    rng = np.random.default_rng(seed)
    images = [np.full((64, 64), 90), np.full((64, 64), 90), *rng.integers(0, 256, (8, 64, 64))]
    while len(images) < count:
        images.append(np.clip(images[rng.integers(2, len(images))] + rng.normal(0, rng.choice([5, 12, 20]), (64, 64)), 0, 255))
    return rng.permutation(np.array(images).astype(np.uint8))


def clear_threshold(thumbnails: NDArray[np.uint8], about: float) -> float:
    """The middle of the widest gap between correlations near a value."""
    with np.errstate(all="ignore"):
        values = np.unique(np.corrcoef(thumbnails.reshape(len(thumbnails), -1)))
    values = np.array([about - 0.004, *values[np.abs(values - about) < 0.004], about + 0.004])
    gap = np.diff(values).argmax()
    return float(values[gap : gap + 2].mean())


@pytest.mark.parametrize("about", [0.9, 0.98, 0.995])
def test_near_duplicates_equal_every_pair(monkeypatch: pytest.MonkeyPatch, about: float) -> None:
    monkeypatch.setattr("query.inputs.near_duplicates._BLOCK", 37)  # many blocks, the last one smaller
    for seed in range(5):
        images = crowd(seed, 150)
        threshold = clear_threshold(images, about)
        groups = near_duplicate_groups(images, threshold)
        assert groups.dtype == np.int64
        np.testing.assert_array_equal(groups, every_pair(images, threshold))
        assert 5 < len(np.unique(groups)) < 150


def test_near_duplicates_of_slices() -> None:
    """Copies of several sizes join their originals; slices of other patients do not."""
    originals = [phantom(seed) for seed in range(6)]
    rng = np.random.default_rng(0)
    copies = [copy_of(image, 1, rng) for image in originals]
    larger = [np.asarray(Image.fromarray(image).resize((300, 280))) for image in originals]
    images = [*originals, *copies, *larger]
    groups = near_duplicate_groups(images)
    np.testing.assert_array_equal(groups, every_pair(np.array([thumbnail(image) for image in images]), 0.98))
    np.testing.assert_array_equal(groups[12:], groups[:6])
    np.testing.assert_array_equal(groups, near_duplicate_groups(np.array([thumbnail(image) for image in images])))


def test_thumbnail_is_the_mean_of_squares() -> None:
    image = phantom(3)
    means = image.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.abs(thumbnail(image) - means).max() <= 1  # Pillow rounds after each direction
    np.testing.assert_array_equal(thumbnail(thumbnail(image)), thumbnail(image))


def test_a_chain_is_one_group() -> None:
    """Its ends are not alike; brightness and contrast do not count; a blank image joins nothing."""
    ramp = np.tile(np.arange(64), (64, 1))
    steps = [np.roll(ramp, shift, 1) for shift in range(5)]
    flat = np.full((64, 64), 7)
    images = np.array([*steps[::-1], flat, ramp * 2 + 50, flat]).astype(np.uint8)
    assert np.corrcoef(steps[0].ravel(), steps[4].ravel())[0, 1] < 0.9
    threshold = float(np.corrcoef(steps[0].ravel(), steps[1].ravel())[0, 1]) - 1e-4
    assert near_duplicate_groups(images, threshold).tolist() == [0, 0, 0, 0, 0, 1, 0, 2]


def test_copies_meet_a_threshold_of_one() -> None:
    rng = np.random.default_rng(1)
    images = np.where(rng.random((200, 64, 64)) < rng.random((200, 1, 1)) / 2 + 0.01, 200, 3).astype(np.uint8)
    np.testing.assert_array_equal(near_duplicate_groups([*images, *images], 1.0), np.tile(np.arange(200), 2))


def test_few_images_and_bad_thresholds() -> None:
    assert near_duplicate_groups([]).shape == (0,)
    assert near_duplicate_groups([phantom(0)]).tolist() == [0]
    for threshold in (0, 1e-5, -1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="threshold must be"):
            near_duplicate_groups([phantom(0)], threshold)


def test_memory_where_all_are_alike() -> None:
    """All pairs of 3,000 images would take 144 MB as row numbers; the rows themselves take 49 MB."""
    images = np.broadcast_to(thumbnail(phantom(0)), (3000, 64, 64))
    tracemalloc.start()
    try:
        assert not near_duplicate_groups(images).any()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3000 * 21_000 + 40e6


def test_what_was_given_is_a_table_or_a_pattern(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("image,group\na.png,x\n")
    assert list(read_groups(str(table))(SimpleNamespace(names=["a.png", "b.png"]))) == [{"a.png": "x"}]
    names = SimpleNamespace(names=["p1_a.png", "p1_b.png", "q.png"])
    assert list(read_groups(r"^p\d+")(names)) == [{"p1_a.png": "p1", "p1_b.png": "p1", "q.png": "q.png"}]


@pytest.mark.parametrize("given", ["nothing.csv", "(", "[a-"])
def test_mistakes_in_groups_are_told_before_there_are_names(given: str) -> None:
    with pytest.raises(GroupsError):
        read_groups(given)
