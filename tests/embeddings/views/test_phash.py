"""The view `phash` against imagehash itself."""

import imagehash
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from embeddings.phantoms.slices import copy_of, phantom
from embeddings.types import GreyImage
from embeddings.views.phash import PHash
from tests.helpers.making import noise


def by_imagehash(image: GreyImage, size: int) -> NDArray[np.uint8]:
    return np.packbits(imagehash.phash(Image.fromarray(image), hash_size=size).hash.ravel())


def many_images() -> list[GreyImage]:
    rng = np.random.default_rng(3)
    shapes = [(1, 1), (1, 2), (3, 500), (500, 3), (31, 33), (32, 32), (63, 65), (64, 64), (64, 128), (127, 64), (1000, 700)]
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    images += [noise(seed, shape) for seed, shape in enumerate(shapes)]
    images += [np.full(shape, level, np.uint8) for shape in shapes for level in (0, 7, 255)]
    for _ in range(200):
        shape = tuple(rng.integers(1, 150, 2))
        images.append(rng.integers(0, rng.integers(1, 257), shape, dtype=np.uint8))
    images += [noise(seed, tuple(rng.integers(5, 200, 2))) for seed in range(100)]
    images += [phantom(seed, 128) for seed in range(20)]
    for random in (rng.integers(0, 256, (64, 64), dtype=np.uint8) for _ in range(5)):  # frequencies of 0: rounding decides bits
        images += [np.minimum(random, random[::-1]), np.minimum(random, random[:, ::-1]), np.minimum(random, random.T)]
        images += [np.repeat(random[:1], 64, axis=0), np.repeat(random[:, :1], 64, axis=1), np.eye(64, dtype=np.uint8) * 255]
    return images + [copy_of(phantom(seed, 128), 3, rng) for seed in range(20)]


@pytest.mark.parametrize("size", [8, 16])
def test_codes_equal_imagehash_bit_for_bit(size: int) -> None:
    images = many_images()
    made = PHash(size * size, {}).embed(images)
    assert np.array_equal(made.vectors, [by_imagehash(image, size) for image in images])


def test_companions_and_order_do_not_matter() -> None:
    images = many_images()
    view = PHash(256, {})
    together = view.embed(images)
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = view.embed([images[i] for i in order])
    assert np.array_equal(shuffled.vectors, together.vectors[order])
    assert np.array_equal(shuffled.blank, together.blank[order])
    assert np.array_equal(view.embed(images[40:41]).vectors, together.vectors[40:41])


def test_views_of_memory_in_any_order_are_read_right() -> None:
    image = phantom(1, 100)
    flipped = PHash(256, {}).embed([image[:, ::-1], image.T, image[::2, ::3]]).vectors
    assert np.array_equal(flipped, [by_imagehash(i.copy(), 16) for i in (image[:, ::-1], image.T, image[::2, ::3])])


def test_blank_images_are_flagged_and_others_are_not() -> None:
    rng = np.random.default_rng(1)
    nearly = (100 + rng.integers(0, 2, (256, 256))).astype(np.uint8)  # one grey level of noise: gone after shrinking
    blank = [np.full((50, 60), level, np.uint8) for level in (0, 1, 128, 255)] + [nearly]
    seen = [phantom(seed, 64) for seed in range(10)] + [noise(5), np.eye(64, dtype=np.uint8) * 255]
    assert PHash(256, {}).embed(blank + seen).blank.tolist() == [True] * len(blank) + [False] * len(seen)


def test_no_images_give_no_codes() -> None:
    assert PHash(64, {}).embed([]).vectors.shape == (0, 8)


def test_the_number_of_bits_and_the_decoding_are_in_the_fingerprint() -> None:
    specs = [PHash(64, {}).spec, PHash(256, {}).spec, PHash(256, {"low": 1.0}).spec]
    assert len({spec.fingerprint for spec in specs}) == 3
    with pytest.raises(ValueError, match="64 or 256 bits, got 128"):
        PHash(128, {})
