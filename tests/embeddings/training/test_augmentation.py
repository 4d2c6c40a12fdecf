"""What generators are supposed to do to pictures: repeatable, in range, with shares that are true."""

import numpy as np
import pytest

from embeddings.training import augmentation
from embeddings.training.augmentation import distorted, mixed
from embeddings.types import GreyImage
from tests.helpers.making import slice_of

SOURCES = [slice_of(seed) for seed in range(3)]
SEEDS = range(60)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_seed_gives_one_picture_and_another_seed_another(count: int) -> None:
    made = [distorted(SOURCES[:count], np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert np.array_equal(made[0][0], made[1][0])
    assert np.array_equal(made[0][1], made[1][1])
    assert not np.array_equal(made[0][0], made[2][0])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_pictures_keep_their_shape_and_sources_their_pixels(count: int) -> None:
    sources = [source.copy() for source in SOURCES[:count]]
    for seed in SEEDS:
        picture, shares = distorted(sources, np.random.default_rng(seed))
        assert (picture.shape, picture.dtype) == (sources[0].shape, np.dtype(np.uint8))
        assert shares.shape == (count,)
        assert shares.min() > 0
        assert shares.sum() == pytest.approx(1)
    assert all(np.array_equal(source, before) for source, before in zip(sources, SOURCES, strict=False))


def constant(value: int) -> GreyImage:
    return np.full((40, 40), value, np.uint8)


@pytest.mark.parametrize("values", [(0,), (255,), (128,), (0, 0), (255, 0), (0, 255, 255)])
def test_constant_pictures_come_through(values: tuple[int, ...]) -> None:
    for seed in SEEDS:
        picture, _ = distorted([constant(value) for value in values], np.random.default_rng(seed))
        assert picture.shape == (40, 40)


@pytest.mark.parametrize("mix", [augmentation._overlaid, augmentation._patched])
@pytest.mark.parametrize("values", [(10, 240), (10, 120, 240)])
def test_a_share_is_what_a_source_adds(mix: object, values: tuple[int, ...]) -> None:
    """Of constant sources the mean of the mixture is the mean of their values by shares."""
    assert callable(mix)
    for seed in SEEDS:
        picture, shares = mix([constant(value).astype(np.float32) for value in values], np.random.default_rng(seed))
        assert picture.mean() == pytest.approx(shares @ values, abs=0.01)


def test_no_source_is_laid_over_so_thinly_that_it_cannot_be_seen() -> None:
    sources = [source.astype(np.float32) for source in SOURCES]
    smallest = [augmentation._overlaid(sources[:n], np.random.default_rng(s))[1].min() for n in (2, 3) for s in range(200)]
    assert min(smallest) >= 0.15


def test_texture_is_the_second_ones_and_anatomy_the_first_ones() -> None:
    rng = np.random.default_rng(0)
    coarse = np.repeat(np.repeat(rng.uniform(0, 255, (2, 2)), 32, 0), 32, 1).astype(np.float32)
    fine = (128 + 60 * (np.indices((64, 64)).sum(axis=0) % 2 * 2 - 1)).astype(np.float32)
    picture, shares = augmentation._retextured([coarse, fine], rng)
    assert shares[0] > shares[1]
    assert np.corrcoef(picture.reshape(8, 8, 8, 8).mean(axis=(1, 3)).ravel(), coarse[::8, ::8].ravel())[0, 1] > 0.95
    detail = picture - np.roll(picture, 1, axis=1)
    assert abs(np.corrcoef(detail[:, 1:].ravel(), (fine - np.roll(fine, 1, axis=1))[:, 1:].ravel())[0, 1]) > 0.9


def test_one_source_is_itself_before_it_is_bent() -> None:
    picture, shares = mixed([SOURCES[0].astype(np.float32)], np.random.default_rng(0))
    assert np.array_equal(picture, SOURCES[0])
    assert shares.tolist() == [1]
