"""Phantoms repeat, differ, have siblings, carry detail; copies keep their source recognisable and fade with strength."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.phantoms.anatomy import draw_body
from embeddings.phantoms.scene import Scene, Sibling, Streams, draw_patient
from embeddings.phantoms.slices import SIZE, copy_of, phantom


def thumbnails(images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """(n, 1024) standardised 32x32 versions: the product of two rows is their correlation."""
    small = np.stack([cv2.resize(i, (32, 32), interpolation=cv2.INTER_AREA).ravel() for i in images]).astype(np.float64)
    small -= small.mean(axis=1, keepdims=True)
    return np.asarray(small / np.linalg.norm(small, axis=1, keepdims=True), np.float64)


@pytest.fixture(scope="module")
def phantoms() -> list[NDArray[np.uint8]]:
    return [phantom(seed) for seed in range(40)]


def test_same_seed_gives_same_pixels(phantoms: list[NDArray[np.uint8]]) -> None:
    for seed in (0, 7, 39):
        np.testing.assert_array_equal(phantom(seed), phantoms[seed])


def test_chance_comes_from_the_seed_alone(phantoms: list[NDArray[np.uint8]]) -> None:
    np.random.seed(1)
    state = np.random.get_state(legacy=False)["state"]["key"].copy()
    np.testing.assert_array_equal(phantom(5), phantoms[5])
    np.testing.assert_array_equal(np.random.get_state(legacy=False)["state"]["key"], state)


@pytest.fixture(scope="module")
def siblings() -> list[NDArray[np.uint8]]:
    return [phantom(seed, sibling=1 + seed % 4) for seed in range(40)]


def test_sibling_zero_is_the_slice_itself(phantoms: list[NDArray[np.uint8]]) -> None:
    for seed in (0, 11):
        np.testing.assert_array_equal(phantom(seed, sibling=0), phantoms[seed])


def test_same_sibling_gives_same_pixels(siblings: list[NDArray[np.uint8]]) -> None:
    for seed in (0, 6, 39):
        np.testing.assert_array_equal(phantom(seed, sibling=1 + seed % 4), siblings[seed])


def test_siblings_differ_from_the_slice_and_from_each_other() -> None:
    for seed in range(30):
        images = {phantom(seed, 96, sibling).tobytes() for sibling in range(5)}
        assert len(images) == 5


def test_a_sibling_is_nearer_than_another_patient(phantoms: list[NDArray[np.uint8]], siblings: list[NDArray[np.uint8]]) -> None:
    """All pairs of a slice and another patient against the slice and its sibling."""
    originals = thumbnails(phantoms)
    own = np.sum(originals * thumbnails(siblings), axis=1)
    others = originals @ originals.T
    apart = ~np.eye(len(phantoms), dtype=bool)
    assert np.mean((own[:, None] > others)[apart]) >= 0.95
    assert 0.9 < np.median(own) < 0.999
    assert np.median(own) > np.quantile(others[apart], 0.99)


def test_a_sibling_has_new_noise() -> None:
    """Near the upper border there mostly is nothing but noise, which only some windows show."""
    alike = []
    for seed in range(60):
        first, second = (phantom(seed, sibling=sibling)[2:12, 100:156].astype(float) for sibling in (1, 2))
        if min(first.std(), second.std()) > 0.5 and max(first.std(), second.std()) < 8:
            alike.append(np.corrcoef(first.ravel(), second.ravel())[0, 1])
    assert len(alike) >= 8
    assert np.mean(np.abs(alike) < 0.35) >= 0.8


def drawn(seed: int, shift: float) -> NDArray[np.float32]:
    """A patient in Hounsfield units before noise and window, `shift` cm below the slice, (96, 96)."""
    streams = Streams(seed, 0)
    scene = Scene(96, draw_patient(streams, Sibling(shift=shift)), streams)
    draw_body(scene)
    return scene.hounsfield()


def test_slices_part_the_further_they_lie_from_each_other() -> None:
    """Anatomy is continuous in the level: a tenth of a millimetre changes next to nothing, a centimetre much more."""
    steps = np.array([[np.abs(drawn(seed, shift) - drawn(seed, 0)).mean() for shift in (0.01, 0.2, 1, 4)] for seed in range(24)])
    assert np.mean((np.diff(steps, axis=1) > 0).all(axis=1)) >= 0.9
    typical = np.median(steps, axis=0)
    assert typical[0] < 0.25 * typical[2]
    assert typical[2] < typical[3]


def test_windows_and_places_vary() -> None:
    """Lungs and bodies come bright and dark, small and large."""
    images = np.stack([phantom(seed, 64) for seed in range(200)])
    low, high = np.quantile(images.mean(axis=(1, 2)), [0.05, 0.95])
    assert high - low > 80
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]].max(axis=1)
    assert 0.02 < np.mean(corners > 128) < 0.3
    assert np.mean(images.std(axis=(1, 2)) < 5) < 0.02


@pytest.mark.parametrize("size", [SIZE, 128, 300])
def test_shape_and_type(size: int) -> None:
    image = phantom(3, size)
    assert image.shape == (size, size)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


def test_seeds_give_different_images(phantoms: list[NDArray[np.uint8]]) -> None:
    rows = thumbnails(phantoms)
    between = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    assert between.max() < 0.98  # the limit from which images count as near-duplicates
    assert np.median(between) < 0.8


def test_enough_detail_for_sift(phantoms: list[NDArray[np.uint8]]) -> None:
    counts = [len(cv2.SIFT.create().detect(image, None)) for image in phantoms]
    assert np.mean(np.array(counts) >= 80) >= 0.9


def test_two_dark_lungs_beside_a_brighter_middle(phantoms: list[NDArray[np.uint8]]) -> None:
    """In most slices a horizontal line through the chest goes tissue, lung, mediastinum, lung, tissue."""
    seen = 0
    for image in phantoms:
        row = cv2.GaussianBlur(image, (0, 0), 6)[96:144].mean(axis=0)
        left, middle, right = row[60:110].min(), row[110:146].max(), row[146:196].min()
        seen += middle > left + 10 and middle > right + 10
    assert seen >= 0.75 * len(phantoms)  # the others are zoomed, rotations, cut out, or liver


def test_copy_repeats_and_leaves_its_source_alone(phantoms: list[NDArray[np.uint8]]) -> None:
    before = phantoms[0].copy()
    first, second, other = (copy_of(phantoms[0], 3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    np.testing.assert_array_equal(phantoms[0], before)
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous


def test_copies_are_nearest_to_their_source_and_fade(phantoms: list[NDArray[np.uint8]]) -> None:
    originals = thumbnails(phantoms)
    likeness = []
    for strength in (1, 3, 5):
        rng = np.random.default_rng(strength)
        found = thumbnails([copy_of(image, strength, rng) for image in phantoms]) @ originals.T
        assert np.mean(found.argmax(axis=1) == np.arange(len(phantoms))) >= {1: 1.0, 3: 0.9, 5: 0.6}[strength]
        likeness.append(np.diagonal(found).mean())
    assert likeness[0] > likeness[1] > likeness[2]
    assert likeness[0] > 0.95


def test_copy_keeps_the_shape_and_scales_with_it() -> None:
    assert copy_of(np.zeros((90, 140), np.uint8), 5, np.random.default_rng(0)).shape == (90, 140)


def test_copy_of_a_flat_image_shows_tone_and_noise_only() -> None:
    flat = copy_of(np.full((SIZE, SIZE), 128, np.uint8), 1, np.random.default_rng(0)).astype(float)
    assert abs(flat.mean() - 128) < 25
    assert 0.3 < flat.std() < 2.5


@pytest.mark.parametrize("strength", [0, 6, -1])
def test_copy_refuses_other_strengths(strength: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 5, got {strength}"):
        copy_of(np.zeros((8, 8), np.uint8), strength, np.random.default_rng(0))


def test_import_leaves_opencv_threads_alone() -> None:
    code = "import cv2; before = cv2.getNumThreads(); import query.benchmarks.benchmark; assert cv2.getNumThreads() == before > 1"
    subprocess.run([sys.executable, "-W", "error", "-c", "import cv2; cv2.setNumThreads(3); " + code], check=True)
