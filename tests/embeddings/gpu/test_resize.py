"""Resizing by matrix products against Pillow and OpenCV."""

import numpy as np
import pytest
import torch
from PIL import Image

from embeddings.gpu.resize import area, lanczos
from embeddings.views.pixels import resized

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
SHAPES = [(256, 256), (512, 512), (64, 64), (63, 65), (65, 63), (3, 500), (500, 3), (1, 1), (700, 1000), (1000, 700), (31, 300)]


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("shape", SHAPES)
def test_lanczos_is_that_of_pillow_to_the_bit(shape: tuple[int, int], size: int) -> None:
    images = RNG.integers(0, 256, (3, *shape), dtype=np.uint8)
    images[1] = np.where(images[1] > 127, 255, 0)  # overshoots are cut off
    truth = [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)) for image in images]
    assert np.array_equal(lanczos(images, size, CPU).numpy(), truth)


@pytest.mark.parametrize(("size", "rare"), [(64, 1e-3), (144, 0.01)])
@pytest.mark.parametrize("shape", [*SHAPES, (128, 128), (288, 288), (300, 400), (257, 255)])
def test_areas_are_those_of_opencv_but_for_rare_roundings(shape: tuple[int, int], size: int, rare: float) -> None:
    images = RNG.integers(0, 256, (3, *shape), dtype=np.uint8)
    truth = np.stack([resized(image, size) for image in images]).astype(int)
    differing = np.abs(area(images, size, CPU).numpy() - truth)
    assert differing.max() <= 1
    assert differing.mean() < rare


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_whole_factors_are_exact(factor: int) -> None:
    images = RNG.integers(0, 256, (3, 64 * factor, 64 * factor), dtype=np.uint8)
    assert np.array_equal(area(images, 64, CPU).numpy(), [resized(image, 64) for image in images])
