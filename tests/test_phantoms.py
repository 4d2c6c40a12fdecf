"""Phantoms repeat, differ from each other and carry detail; copies keep their source recognisable and fade with strength."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.phantoms import SIZE, copy_of, phantom


def thumbnails(images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """(n, 1024) standardised 32x32 versions: the product of two rows is their correlation."""
    small = np.stack([cv2.resize(i, (32, 32), interpolation=cv2.INTER_AREA).ravel() for i in images]).astype(np.float64)
    small -= small.mean(axis=1, keepdims=True)
    return small / np.linalg.norm(small, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def phantoms() -> list[NDArray[np.uint8]]:
    return [phantom(seed) for seed in range(40)]


def test_same_seed_gives_same_pixels(phantoms: list[NDArray[np.uint8]]) -> None:
    for seed in (0, 7, 39):
        np.testing.assert_array_equal(phantom(seed), phantoms[seed])


def test_chance_comes_from_the_seed_alone(phantoms: list[NDArray[np.uint8]]) -> None:
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    np.testing.assert_array_equal(phantom(5), phantoms[5])
    np.testing.assert_array_equal(np.random.get_state()[1], state)


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
    found = [len(cv2.SIFT_create().detect(image, None)) for image in phantoms]
    assert np.mean(np.array(found) >= 80) >= 0.9


def test_two_dark_lungs_beside_a_brighter_middle(phantoms: list[NDArray[np.uint8]]) -> None:
    """In most slices a horizontal line through the chest goes tissue, lung, mediastinum, lung, tissue."""
    seen = 0
    for image in phantoms:
        row = cv2.GaussianBlur(image, (0, 0), 6)[96:144].mean(axis=0)
        left, middle, right = row[60:110].min(), row[110:146].max(), row[146:196].min()
        seen += middle > left + 10 and middle > right + 10
    assert seen >= 0.75 * len(phantoms)  # the others are zoomed, turned, cut out, or liver


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
    code = "import cv2; before = cv2.getNumThreads(); import embeddings.benchmark; assert cv2.getNumThreads() == before > 1"
    subprocess.run([sys.executable, "-W", "error", "-c", "import cv2; cv2.setNumThreads(3); " + code], check=True)
