"""A pair of images: planted transforms are found, unrelated images agree on little, what is taken away is gone."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from embeddings.images.decoding import flip
from embeddings.phantoms.slices import phantom
from embeddings.types import GreyImage
from embeddings.views.keypoints import keypoints
from query.comparison.geometry import Match, aligned, match
from query.comparison.models import models

SIZE = 256


def moved(image: GreyImage, transform: NDArray[np.float64], size: tuple[int, int] | None = None) -> GreyImage:
    """The image under a transform of pixels, (width, height) of the result."""
    size = size or image.shape[::-1]
    return np.asarray(cv2.warpAffine(image, transform, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def around_the_middle(degrees: float, scale: float, shift: tuple[float, float] = (0, 0)) -> NDArray[np.float64]:
    made = np.asarray(cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), degrees, scale), np.float64)
    made[:, 2] += shift
    return made


def error(found: Match, planted: NDArray[np.float64], size: float = SIZE) -> float:
    """Largest distance in pixels between where both transforms put points of the middle of the real image."""
    points = np.array([[x * size, y * size, 1] for x in (0.3, 0.5, 0.7) for y in (0.3, 0.5, 0.7)])
    return float(np.abs(points @ (found.transform - planted).T).max())


@pytest.fixture(scope="module")
def slices() -> list[GreyImage]:
    return [phantom(seed, SIZE) for seed in range(6)]


def noisy(image: GreyImage) -> GreyImage:
    return np.clip(image + np.random.default_rng(1).normal(0, 3, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"), [(0, 1, (0, 0)), (4, 1.05, (6, -9)), (-30, 0.8, (10, 5)), (90, 1, (0, 0)), (180, 1, (0, 0))]
)
def test_a_planted_similarity_is_found(slices: list[GreyImage], degrees: float, scale: float, shift: tuple[float, float]) -> None:
    planted = around_the_middle(degrees, scale, shift)
    found = match(keypoints(slices[0]), keypoints(noisy(moved(slices[0], planted))))
    assert error(found, planted) < 2
    assert found.quarter_turns == round(degrees / 90) % 4
    assert not found.mirrored
    assert found.correlation > 0.9
    assert found.inliers == len(found.points) <= found.matches
    put = found.points[:, :2] @ found.transform[:, :2].T + found.transform[:, 2]
    assert np.sqrt(((put - found.points[:, 2:]) ** 2).sum(axis=1).mean()) == pytest.approx(found.residual, abs=1e-3)


def test_transforms_are_of_the_images_as_they_are_not_as_they_are_compared(slices: list[GreyImage]) -> None:
    large = np.asarray(cv2.resize(slices[1], (512, 512), interpolation=cv2.INTER_CUBIC), np.uint8)
    small = np.asarray(cv2.resize(slices[1], (200, 200), interpolation=cv2.INTER_AREA), np.uint8)
    found = match(keypoints(large), keypoints(small))
    scale = 200 / 512
    assert error(found, np.array([[scale, 0, 0], [0, scale, 0]]), 512) < 2
    over = aligned(large, small, found.transform)
    assert over.shape == small.shape
    assert np.corrcoef(over.ravel(), small.ravel())[0, 1] > 0.95


def test_a_mirrored_copy_is_found_when_it_is_looked_for(slices: list[GreyImage]) -> None:
    real, copy = slices[2], noisy(flip(slices[2]))
    blind = match(keypoints(real), keypoints(copy))
    found = match(keypoints(real), keypoints(copy), keypoints(flip(real)))
    assert found.mirrored
    assert found.inliers > 3 * blind.inliers
    assert error(found, np.array([[-1, 0, SIZE - 1], [0, 1, 0.0]])) < 1
    put = found.points[:, :2] @ found.transform[:, :2].T + found.transform[:, 2]
    assert np.abs(put - found.points[:, 2:]).max() < 8


def test_unrelated_slices_agree_on_little(slices: list[GreyImage]) -> None:
    seen = [keypoints(image) for image in slices]
    unrelated = [found.inliers for i in range(6) for j, found in enumerate(models(seen, seen[i])) if i != j]
    copies = [models([one], keypoints(noisy(image)))[0].inliers for one, image in zip(seen, slices, strict=True)]
    assert min(copies) > 2 * max(unrelated)


def test_measures_are_what_they_say(slices: list[GreyImage]) -> None:
    real = slices[3]
    same = match(keypoints(real), keypoints(real))
    assert same.residual < 0.01
    assert same.correlation == pytest.approx(1, abs=1e-3)
    assert same.ssim > 0.99
    known = same.tiles[np.isfinite(same.tiles)]
    assert same.tiles.shape == (4, 4)
    assert known.size > 4
    assert known.min() > 0.99
    changed = real.copy()
    changed[128:, 128:] = slices[4][128:, 128:]  # another patient's corner
    found = match(keypoints(real), keypoints(changed))
    assert found.tiles[:2, :2][np.isfinite(found.tiles[:2, :2])].min() > 0.95
    assert found.tiles[2:, 2:][np.isfinite(found.tiles[2:, 2:])].min() < 0.8
    assert found.ssim_tiles[:2, :2].min() > 0.9
    assert found.ssim_tiles[2:, 2:].max() < found.ssim_tiles[:2, :2].min()
    # independently: both at 64 x 64, correlation and similarity of one tile that is laid over itself
    over, small = (cv2.resize(each, (64, 64), interpolation=cv2.INTER_AREA) for each in (real, changed))
    assert found.transform == pytest.approx(np.eye(2, 3), abs=0.1)
    assert found.tiles[3, 3] == pytest.approx(np.corrcoef(over[48:, 48:].ravel(), small[48:, 48:].ravel())[0, 1], abs=0.01)
    assert found.ssim == pytest.approx(structural_similarity(over, small, data_range=255), abs=0.02)  # skimage leaves out borders
    hull = cv2.contourArea(cv2.convexHull(np.ascontiguousarray(found.points[:, 2:]))) / real.size
    assert found.area == pytest.approx(hull, abs=1e-3)


@pytest.mark.parametrize("pixels", [np.zeros((64, 64), np.uint8), np.full((40, 300), 200, np.uint8), np.zeros((1, 1), np.uint8)])
def test_an_image_with_nothing_in_it_matches_nothing(slices: list[GreyImage], pixels: GreyImage) -> None:
    for pair in ((pixels, slices[0]), (slices[0], pixels), (pixels, pixels)):
        found = match(*map(keypoints, pair))
        assert (found.inliers, len(found.points)) == (0, 0)
        assert np.isnan([found.area, found.residual, found.correlation, found.ssim]).all()


def test_the_same_pair_gives_the_same_answer(slices: list[GreyImage]) -> None:
    pair = keypoints(slices[0]), keypoints(noisy(moved(slices[0], around_the_middle(3, 1.02))))
    first, again = match(*pair), match(*pair)
    assert first.transform.tobytes() == again.transform.tobytes()
    assert first.points.tobytes() == again.points.tobytes()
