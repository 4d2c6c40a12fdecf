"""A pair of images, looked at closely: SIFT matches, one geometric model, and how alike the pictures are once they are aligned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.sift import SiftSettings, detect, resized
from embeddings.types import GreyImage

SIZE = 256  # longer side at which pairs are compared, pixels
TILES = 4  # along each side
_RATIO = 0.8  # Lowe, IJCV 2004
_TOLERANCE = 7.0  # pixels by which an inlier may miss its place: generators bend
_SETTINGS = SiftSettings(size=SIZE, keypoints=800, contrast=0.02)


@dataclass(frozen=True)
class Keypoints:
    """Local features of one image, at a longer side of 256 pixels.

    Attributes:
        image: (H, W) uint8, resized.
        scale: pixels of the resized image for one of the original.
        places: (n, 2) float32, x and y.
        descriptors: (n, 128) float32 RootSIFT.
    """

    image: GreyImage
    scale: float
    places: NDArray[np.float32]
    descriptors: NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """How a real image can be laid over a generated one. NaN and empty arrays where no model was found.

    Attributes:
        value: larger = more surely the same picture; 0 = no model.
        matches: mutual nearest descriptors that pass the ratio test.
        inliers: of them, those that the model explains.
        inlier_ratio: inliers / matches.
        area: share of the generated image inside the convex hull of its inliers.
        residual: root mean square distance of inliers from where the model puts them, pixels of the 256-pixel image.
        correlation: of grey levels, where both show something after alignment, -1 to 1.
        ssim: structural similarity there (Wang et al., IEEE TIP 2004).
        tiles: (4, 4) float64, correlation by tile; NaN where a tile has nothing to compare.
        quarter_turns: of the real image, counterclockwise.
        mirrored: the real image was flipped left to right before it was turned.
        transform: (2, 3) float64, from pixels (x, y) of the real image, as it is, to pixels of the generated one.
        points: (inliers, 4) float32: x, y in the real image, x, y in the generated one, pixels.
    """

    value: float
    matches: int
    inliers: int
    inlier_ratio: float
    area: float
    residual: float
    correlation: float
    ssim: float
    tiles: NDArray[np.float64]
    quarter_turns: int
    mirrored: bool
    transform: NDArray[np.float64]
    points: NDArray[np.float32]


def keypoints(image: GreyImage) -> Keypoints:
    """Local features of an image, (H, W) uint8 of any size."""
    small = resized(image, SIZE)
    found, descriptors = detect(small, _SETTINGS)
    if descriptors is None:
        return Keypoints(small, max(small.shape) / max(image.shape), np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1))
    places = np.array([point.pt for point in found], np.float32)
    return Keypoints(small, max(small.shape) / max(image.shape), places, root.astype(np.float32))


def match(real: Keypoints, generated: Keypoints) -> Match:
    """The pair, compared; the same pair gives the same answer.

    Args:
        real, generated: from `keypoints`.
    """
    pairs = _mutual(real.descriptors, generated.descriptors)
    a, b = real.places[pairs[:, 0]], generated.places[pairs[:, 1]]
    if len(pairs) < 4:
        return _nothing(len(pairs))
    model, mask = cv2.estimateAffinePartial2D(a, b, method=cv2.RANSAC, ransacReprojThreshold=_TOLERANCE, maxIters=2000)
    if model is None:
        return _nothing(len(pairs))
    inside = mask.ravel().astype(bool)
    return _measured(real, generated, len(pairs), a[inside], b[inside], model)


def aligned(real: GreyImage, generated: GreyImage, transform: NDArray[np.float64]) -> GreyImage:
    """The real image laid over the generated one, of its size; black where there is nothing."""
    height, width = generated.shape
    return np.asarray(cv2.warpAffine(real, transform, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def _mutual(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.intp]:
    """(m, 2) rows of descriptors that are each other's nearest, the second nearest being farther by the ratio."""
    if len(a) < 2 or len(b) < 2:
        return np.zeros((0, 2), np.intp)
    alike = a @ b.T
    nearest = alike.argmax(axis=1)
    rows = np.arange(len(a))
    mutual = alike.argmax(axis=0)[nearest] == rows
    first = alike[rows, nearest]
    alike[rows, nearest] = -1
    distances = [np.sqrt(np.maximum(2 - 2 * value, 0)) for value in (first, alike.max(axis=1))]
    kept = mutual & (distances[0] < _RATIO * distances[1])
    return np.stack([rows[kept], nearest[kept]], axis=1)


def _measured(real: Keypoints, generated: Keypoints, matches: int, a: Any, b: Any, model: NDArray[np.float64]) -> Match:
    """What is alike under a model from pixels of the resized real image to those of the resized generated one."""
    missed = a @ model[:, :2].T + model[:, 2] - b
    height, width = generated.image.shape
    area = cv2.contourArea(cv2.convexHull(b)) / (height * width) if len(b) > 2 else 0.0
    warped = aligned(real.image, generated.image, model)
    seen = aligned(np.full_like(real.image, 255), generated.image, model) == 255
    x, y = warped[seen].astype(np.float64), generated.image[seen].astype(np.float64)
    scaled = model.copy()
    scaled[:, :2] *= real.scale / generated.scale
    scaled[:, 2] /= generated.scale
    return Match(
        value=float(len(a)),
        matches=matches,
        inliers=len(a),
        inlier_ratio=len(a) / matches,
        area=float(area),
        residual=float(np.sqrt((missed**2).sum(axis=1).mean())),
        correlation=_correlation(x, y),
        ssim=float("nan"),
        tiles=np.full((TILES, TILES), np.nan),
        quarter_turns=0,
        mirrored=False,
        transform=scaled,
        points=np.hstack([a / real.scale, b / generated.scale]).astype(np.float32),
    )


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    if len(x) < 2 or x.std() < 1 or y.std() < 1:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _nothing(matches: int) -> Match:
    """No model."""
    nan = float("nan")
    empty = np.full((TILES, TILES), np.nan)
    return Match(0.0, matches, 0, 0.0, nan, nan, nan, nan, empty, 0, False, np.zeros((0, 3)), np.zeros((0, 4), np.float32))


def columns(run_pairs: Sequence[tuple[int, int]], made: Sequence[Match]) -> dict[str, Any]:
    """Columns of table `matches`: ids of real and generated images, and what was found."""

    def known(values: Sequence[float]) -> list[float | None]:
        return [None if np.isnan(value) else float(value) for value in values]

    plain = ("value", "matches", "inliers", "inlier_ratio", "quarter_turns", "mirrored")
    return {
        "real_id": [real for real, _ in run_pairs],
        "generated_id": [generated for _, generated in run_pairs],
        **{name: [getattr(one, name) for one in made] for name in plain},
        **{name: known([getattr(one, name) for one in made]) for name in ("area", "residual", "correlation", "ssim")},
        "tiles": [one.tiles.ravel().tolist() for one in made],
        "transform": [one.transform.ravel().tolist() for one in made],
    }
