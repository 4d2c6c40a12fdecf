"""How a real image lies over a generated one, by a model: transformation, and what is alike after alignment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.types import GreyImage
from embeddings.views.keypoints import SIDE, Keypoints
from query.comparison.models import Model, models

TILES = 4  # along each side
_VARIED = 1.0  # grey levels: standard deviation below which there is nothing to correlate
_WINDOW = 7  # pixels, of the structural similarity

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Match:
    """How a real image can be laid over a generated one. NaN and empty arrays where no model was found.

    Attributes:
        matches: mutual nearest descriptors that pass a ratio test.
        inliers: of them, those that the model explains: more = more surely the same picture; 0 = no model.
        inlier_ratio: inliers / matches.
        area: share of the generated image inside the convex hull of its inliers.
        residual: root mean square distance of inliers from where the model puts them, pixels of the 256-pixel image.
        correlation: of grey levels at 64 x 64, where both show something after alignment, -1 to 1.
        ssim: structural similarity there (Wang et al., IEEE TIP 2004), at 64 x 64 too.
        tiles: (4, 4) float64, correlation by tile of the generated image; NaN where a tile has nothing to compare.
        ssim_tiles: (4, 4) float64, the same of the structural similarity.
        quarter_turns: of the real image, counterclockwise, after it was flipped.
        mirrored: the real image was flipped left to right.
        transform: (2, 3) float64, from pixels (x, y) of the real image, as it is, to pixels of the generated one.
        points: (inliers, 4) float32: x, y in the real image, x, y in the generated one, pixels.
    """

    matches: int
    inliers: int
    inlier_ratio: float
    area: float
    residual: float
    correlation: float
    ssim: float
    tiles: Floats
    ssim_tiles: Floats
    quarter_turns: int
    mirrored: bool
    transform: Floats
    points: NDArray[np.float32]


def match(real: Keypoints, generated: Keypoints, flipped: Keypoints | None = None) -> Match:
    """Two images compared; the same pair gives the same answer. Turned copies are found by themselves.

    Args:
        real, generated: from `keypoints`.
        flipped: the keypoints of the real image mirrored (`embeddings.images.decoding.flip`), to look for mirrored copies too.
    """
    plain, *mirrored = models([real, *([flipped] if flipped is not None else [])], generated)
    if flipped is not None and mirrored[0].inliers > plain.inliers:
        return measured(flipped, generated, mirrored[0], mirrored=True)
    return measured(real, generated, plain)


def aligned(real: GreyImage, generated: GreyImage, transform: Floats) -> GreyImage:
    """The real image laid over the generated one by `Match.transform`, of its size; black where there is nothing."""
    height, width = generated.shape
    return np.asarray(cv2.warpAffine(real, transform, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def laid_over(real: GreyImage, generated: GreyImage, transform: Floats) -> tuple[GreyImage, NDArray[np.bool_]]:
    """The real image as `aligned` gives it, and where it shows something, (H, W) of the generated image."""
    return aligned(real, generated, transform), aligned(np.full_like(real, 255), generated, transform) == 255


def between_pictures(real: Keypoints, generated: Keypoints, transform: Floats) -> Floats:
    """(3, 3) from pixels of `Keypoints.picture` of one image to those of the other, of a model's transform."""
    whole = np.vstack([transform, [0, 0, 1]])
    return np.asarray(_to_picture(generated) @ whole @ np.linalg.inv(_to_picture(real)))


def _to_picture(seen: Keypoints) -> Floats:
    """(3, 3) from pixels at a longer side of 256 to those of the picture; whole numbers are middles of pixels."""
    height, width = seen.shape
    x, y = SIDE / width, SIDE / height
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def measured(real: Keypoints, generated: Keypoints, found: Model, *, mirrored: bool = False) -> Match:
    """What is alike under a model.

    Args:
        real: what the model was found with; flipped, where `mirrored` says so.
        generated: the same.
        found: the model.
        mirrored: whether `real` was flipped.
    """
    nan, tiles = float("nan"), np.full((TILES, TILES), np.nan)
    ratio = found.inliers / found.matches if found.matches else 0.0
    points = np.hstack([found.real / real.scale, found.generated / generated.scale]).astype(np.float32)
    counts = (found.matches, found.inliers, ratio)
    if found.transform is None:
        return Match(*counts, nan, nan, nan, nan, tiles, tiles, 0, mirrored, np.zeros((0, 3)), points)
    missed = found.real @ found.transform[:, :2].T + found.transform[:, 2] - found.generated
    moved = between_pictures(real, generated, found.transform)[:2]
    over, shown = laid_over(real.picture, generated.picture, moved)
    x, y = over.astype(np.float64), generated.picture.astype(np.float64)
    ones = np.ones_like(x)
    pixels = _sums([ones], ones > 0)[0]
    sums = _sums([ones, x, y, x * x, y * y, x * y, _similarity(x, y)], shown)
    half = sums[0] >= np.maximum(pixels / 2, 1)  # of a tile is shown
    turn = int(np.round(np.degrees(np.arctan2(-found.transform[1, 0], found.transform[0, 0])) / 90)) % 4  # y points down
    width = real.size[1]
    if mirrored:
        points[:, 0] = width - 1 - points[:, 0]
    return Match(
        *counts,
        area=float(cv2.contourArea(cv2.convexHull(found.generated)) / np.prod(generated.shape)),
        residual=float(np.sqrt((missed**2).sum(axis=1).mean())),
        correlation=float(_correlations(sums[:6].sum(axis=(1, 2)))),
        ssim=float(sums[6].sum() / sums[0].sum()) if shown.any() else nan,
        tiles=np.where(half, _correlations(sums[:6]), np.nan),
        ssim_tiles=np.where(half, sums[6] / np.maximum(sums[0], 1), np.nan),
        quarter_turns=turn,
        mirrored=mirrored,
        transform=_unscaled(found.transform, real.scale, generated.scale, width if mirrored else None),
        points=points,
    )


def _unscaled(transform: Floats, real: float, generated: float, flipped_width: float | None) -> Floats:
    """The transform between images as they are; with a width, from the real image before it was flipped."""
    made = np.vstack([transform, [0, 0, 1]]) @ np.diag([real, real, 1.0])
    if flipped_width is not None:
        made = made @ np.array([[-1, 0, flipped_width - 1], [0, 1, 0], [0, 0, 1.0]])
    return np.asarray((np.diag([1 / generated, 1 / generated, 1]) @ made)[:2])


def _correlations(sums: Floats) -> Floats:
    """Pearson's, from (6, ...) number, sums of x, y, x x, y y and x y; NaN where one of both does not vary."""
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y, xx, yy, xy = sums[1:] / sums[0]
        spread = np.sqrt(np.maximum([xx - x * x, yy - y * y], 0))
        return np.where(spread.min(axis=0) < _VARIED, np.nan, (xy - x * y) / (spread[0] * spread[1]))


def _similarity(x: Floats, y: Floats) -> Floats:
    """Structural similarity by pixel, (H, W), equation 13 of Wang et al.; NaN where an image is smaller than a window.

    As scikit-image has it, with windows of 7 x 7 and sample variances, in a tenth of the time.
    """
    if min(x.shape) < _WINDOW:
        return np.full(x.shape, np.nan)
    mean_x, mean_y, squares, product = (
        cv2.boxFilter(each, -1, (_WINDOW, _WINDOW), borderType=cv2.BORDER_REFLECT) for each in (x, y, x * x + y * y, x * y)
    )
    sample = _WINDOW * _WINDOW / (_WINDOW * _WINDOW - 1)
    means, covariance = mean_x * mean_y, sample * (product - mean_x * mean_y)
    energy = mean_x * mean_x + mean_y * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * means + c1) * (2 * covariance + c2)
    return np.asarray(above / ((energy + c1) * (sample * (squares - energy) + c2)))


def _sums(values: Sequence[NDArray[Any]], shown: NDArray[np.bool_]) -> Floats:
    """(values, 4, 4) sums over the shown pixels of each tile."""
    rows, columns = (np.linspace(0, side, TILES + 1).astype(int) for side in shown.shape)
    corners = [cv2.integral(np.where(shown, each, 0.0))[np.ix_(rows, columns)] for each in values]
    return np.diff(np.diff(corners, axis=1), axis=2)
