"""SIFT by kernels of our own, on the CPU, against OpenCV."""

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from embeddings.gpu.device import on, upload
from embeddings.gpu.sift import LocalFeatures, local_features
from embeddings.phantoms.slices import phantom
from embeddings.types import GreyImage

RNG = np.random.default_rng(0)


def of(image: GreyImage, most: int = 1000) -> LocalFeatures:
    with on("cpu") as where:
        return local_features(upload(image[None], where), most, 0.04)


def by_opencv(image: GreyImage, most: int = 1000) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """(m, 5) x, y, size, angle, response; (m, 128) descriptors."""
    points, rows = cv2.SIFT_create(nfeatures=most, contrastThreshold=0.04).detectAndCompute(image, None)  # type: ignore[attr-defined]
    values = np.array([(*point.pt, point.size, point.angle, point.response) for point in points]).reshape(-1, 5)
    return values, np.zeros((0, 128), np.float32) if rows is None else rows


def soft(shape: tuple[int, int]) -> GreyImage:
    """Blurred noise, full of keypoints."""
    blurred = cv2.GaussianBlur(RNG.normal(size=shape), (0, 0), 2)
    return np.asarray(np.clip(128 + 60 * blurred / blurred.std(), 0, 255), np.uint8)


@pytest.mark.parametrize(
    "image",
    [phantom(1, 256), phantom(2, 128)[:70], soft((100, 90)), soft((33, 121)), RNG.integers(0, 256, (64, 64), dtype=np.uint8)],
    ids=["phantom", "part", "soft", "wide", "noise"],
)
def test_keypoints_and_descriptors_are_those_of_opencv(image: GreyImage) -> None:
    truth, rows = by_opencv(image)
    found = of(image)
    columns = [found.places, found.sizes[:, None], found.directions[:, None], found.responses[:, None]]
    ours = torch.cat(columns, dim=1).numpy()
    assert abs(len(ours) - len(truth)) <= 0.01 * len(truth)
    off = np.abs(truth[:, None] - ours[None])
    off[..., 3] = np.minimum(off[..., 3], 360 - off[..., 3])
    same = (off < [0.01, 0.01, 0.01, 0.5, 1e-4]).all(axis=2)
    assert same.any(axis=1).mean() >= 0.99
    paired = same.argmax(axis=1)[same.any(axis=1)]
    differing = np.abs(rows[same.any(axis=1)] - found.descriptors.numpy()[paired].astype(np.float32))
    assert np.quantile(differing, 0.99) <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (5, 7), (8, 8), (10, 400)])
def test_images_too_small_have_no_keypoints(shape: tuple[int, int]) -> None:
    image = RNG.integers(0, 256, shape, dtype=np.uint8)
    assert len(of(image).image) == len(by_opencv(image)[0])


def test_the_strongest_are_kept() -> None:
    image = soft((100, 100))
    truth, _ = by_opencv(image, 50)
    found = of(image, 50)
    assert len(found.image) == len(truth)
    assert np.allclose(np.sort(found.responses.numpy()), np.sort(truth[:, 4]), rtol=0, atol=1e-4)


def test_a_blank_image_has_none() -> None:
    assert of(np.full((64, 64), 7, np.uint8)).descriptors.shape == (0, 128)
