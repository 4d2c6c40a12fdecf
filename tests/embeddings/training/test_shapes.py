"""Pictures of nothing."""

import numpy as np
import pytest

from embeddings.training.shapes import shapes


def test_a_seed_is_one_picture() -> None:
    assert np.array_equal(shapes(3, 64), shapes(3, 64))
    assert len({shapes(seed, 64).tobytes() for seed in range(40)}) == 40


@pytest.mark.parametrize("size", [16, 64, 160])
def test_pictures_have_the_size_asked_for_and_something_on_them(size: int) -> None:
    for seed in range(20):
        picture = shapes(seed, size)
        assert (picture.shape, picture.dtype) == ((size, size), np.dtype(np.uint8))
        assert picture.std() > 1


def test_pictures_are_unlike_each_other() -> None:
    flat = np.array([shapes(seed, 32).ravel() for seed in range(60)], np.float64)
    alike = np.corrcoef(flat) - np.eye(60)
    assert np.median(np.abs(alike)) < 0.3
