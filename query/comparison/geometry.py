"""Geometric matching of a pair: SIFT matches, one transformation (RANSAC), similarity after alignment, difference.

Descriptors are matched twice: anywhere in the other image, and near the same place, since medical images show the same part of
the body in the same pose and repeat themselves elsewhere. Together they go into one model (a similarity: shift, turn, scale). A
copy that a generator bent obeys it within a few pixels; unrelated images seldom have more than a handful of points that agree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from embeddings.types import GreyImage
from embeddings.views.sift import SiftSettings, detect, resized, root_sift

SIZE = 256  # longer side at which pairs are compared, pixels
TILES = 4  # along each side
# Chosen on benchmarks from seeds 101 to 103 (docs/METHODS.md).
_SETTINGS = SiftSettings(size=SIZE, keypoints=400, contrast=0.01)
_RATIO = 0.8  # of distances to the nearest and the second nearest descriptor anywhere (Lowe, IJCV 2004)
_NEAR = 32.0  # pixels within which a descriptor's place is the same
_NEAR_RATIO = 0.9  # the same near its place, where fewer are there to be confused with
_TOLERANCE = 7.0  # pixels by which an inlier may miss its place: generators bend
_FEWEST = 4  # matches from which a model is looked for
_VARIED = 1.0  # grey levels: standard deviation below which there is nothing to correlate
_WINDOW = 7  # pixels, of the structural similarity
_SMOOTH = 8.0  # pixels over which bending is smoothed

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Keypoints:
    """Local features of one image, at a longer side of 256 pixels.

    Attributes:
        image: (H, W) uint8, resized.
        scale: pixels of the resized image for one of the original.
        places: (n, 2) float32, x and y.
        descriptors: (n, 128) float32 RootSIFT (Arandjelovic and Zisserman, CVPR 2012).
    """

    image: GreyImage
    scale: float
    places: NDArray[np.float32]
    descriptors: NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """How a real image can be laid over a generated one. NaN and empty arrays where no model was found.

    Attributes:
        matches: mutual nearest descriptors that pass a ratio test.
        inliers: of them, those that the model explains: more = more surely the same picture; 0 = no model.
        inlier_ratio: inliers / matches.
        area: share of the generated image inside the convex hull of its inliers.
        residual: root mean square distance of inliers from where the model puts them, pixels of the 256-pixel image.
        correlation: of grey levels, where both show something after alignment, -1 to 1.
        ssim: structural similarity there (Wang et al., IEEE TIP 2004; scikit-image).
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


@dataclass(frozen=True)
class Model:
    """A similarity between two resized images, before anything is measured by it.

    Attributes:
        matches: how many there were.
        real, generated: (inliers, 2) float32 places.
        transform: (2, 3) float64 from places of the real image to those of the generated one; None where there is none.
    """

    matches: int
    real: NDArray[np.float32]
    generated: NDArray[np.float32]
    transform: Floats | None

    @property
    def inliers(self) -> int:
        """How many matches the model explains."""
        return len(self.real)


def keypoints(image: GreyImage) -> Keypoints:
    """Local features of an image, (H, W) uint8 of any size."""
    small = resized(image, SIZE)
    scale = max(small.shape) / max(image.shape)
    found, descriptors = detect(small, _SETTINGS)
    if descriptors is None:
        return Keypoints(small, scale, np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    return Keypoints(small, scale, np.array([point.pt for point in found], np.float32), root_sift(descriptors))


def match(real: Keypoints, generated: Keypoints, flipped: Keypoints | None = None) -> Match:
    """Two images compared; the same pair gives the same answer. Turned copies are found by themselves.

    Args:
        real, generated: from `keypoints`.
        flipped: the keypoints of the real image mirrored (`embeddings.images.decoding.flip`), to look for mirrored copies too.
    """
    plain = model(real, generated)
    if flipped is not None and (rotations := model(flipped, generated)).inliers > plain.inliers:
        return measured(flipped, generated, rotations, mirrored=True)
    return measured(real, generated, plain)


def aligned(real: GreyImage, generated: GreyImage, transform: Floats) -> GreyImage:
    """The real image laid over the generated one by `Match.transform`, of its size; black where there is nothing."""
    height, width = generated.shape
    return np.asarray(cv2.warpAffine(real, transform, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def laid_over(real: GreyImage, generated: GreyImage, transform: Floats) -> tuple[GreyImage, NDArray[np.bool_]]:
    """The real image as `aligned` gives it, and where it shows something, (H, W) of the generated image."""
    return aligned(real, generated, transform), aligned(np.full_like(real, 255), generated, transform) == 255


def model(real: Keypoints, generated: Keypoints) -> Model:
    """The similarity that most matches agree on, by RANSAC (Fischler and Bolles, CACM 1981; OpenCV's, seeded)."""
    pairs = _matches(real, generated)
    a, b = real.places[pairs[:, 0]], generated.places[pairs[:, 1]]
    nothing = Model(len(pairs), a[:0], b[:0], None)
    if len(pairs) < _FEWEST:
        return nothing
    found, mask = cv2.estimateAffinePartial2D(a, b, method=cv2.RANSAC, ransacReprojThreshold=_TOLERANCE)
    if found is None:
        return nothing
    inside = mask.ravel().astype(bool)
    return Model(len(pairs), a[inside], b[inside], np.asarray(found, np.float64))


def _matches(real: Keypoints, generated: Keypoints) -> NDArray[np.intp]:
    """(m, 2) rows of descriptors that are each other's nearest and clearly so, anywhere or near the same place."""
    if min(len(real.places), len(generated.places)) < 2:
        return np.zeros((0, 2), np.intp)
    alike = real.descriptors @ generated.descriptors.T
    near = np.where(_squared_distances(real.places, generated.places) < _NEAR * _NEAR, alike, np.float32(-1))
    return np.unique(np.vstack([_mutual(near, _NEAR_RATIO), _mutual(alike, _RATIO)]), axis=0)


def _squared_distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, m) between places, as one product of matrices."""
    one, other = ((places * places).sum(axis=1, keepdims=True) for places in (a, b))
    left, right = np.hstack([-2 * a, one, np.ones_like(one)]), np.hstack([b, np.ones_like(other), other])
    return np.asarray(left @ right.T)


def _mutual(alike: NDArray[np.float32], ratio: float) -> NDArray[np.intp]:
    """(m, 2) rows and columns of products of unit vectors that are largest both ways, the second being farther by the ratio.

    Overwrites `alike`; -1 stands for pairs that do not count.
    """
    rows = np.arange(len(alike))
    nearest = alike.argmax(axis=1)
    first = alike[rows, nearest]
    kept = (alike.argmax(axis=0)[nearest] == rows) & (first > 0)
    alike[rows, nearest] = -1
    second = alike.max(axis=1)
    kept &= 1 - first < ratio * ratio * (1 - second)  # squared distances of unit vectors: 2 - 2 * product
    return np.stack([rows[kept], nearest[kept]], axis=1)


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
    over, shown = laid_over(real.image, generated.image, found.transform)
    similar = _similarity(over, generated.image)
    turn = int(np.round(np.degrees(np.arctan2(-found.transform[1, 0], found.transform[0, 0])) / 90)) % 4  # y points down
    width = real.image.shape[1] / real.scale
    if mirrored:
        points[:, 0] = width - 1 - points[:, 0]
    return Match(
        *counts,
        area=float(cv2.contourArea(cv2.convexHull(found.generated)) / generated.image.size),
        residual=float(np.sqrt((missed**2).sum(axis=1).mean())),
        correlation=_correlation(over, generated.image, shown),
        ssim=float(similar[shown].mean()) if shown.any() else nan,
        tiles=_by_tile(shown, lambda tile: _correlation(over[tile], generated.image[tile], shown[tile])),
        ssim_tiles=_by_tile(shown, lambda tile: float(similar[tile][shown[tile]].mean())),
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


def _correlation(a: GreyImage, b: GreyImage, shown: NDArray[np.bool_]) -> float:
    """Pearson's, over the pixels shown; NaN where one of both does not vary."""
    x, y = a[shown].astype(np.float64), b[shown].astype(np.float64)
    if len(x) < 2 or min(x.std(), y.std()) < _VARIED:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _similarity(a: GreyImage, b: GreyImage) -> Floats:
    """Structural similarity by pixel, (H, W); NaN where an image is smaller than its window."""
    if min(a.shape) < _WINDOW:
        return np.full(a.shape, np.nan)
    _, by_pixel = structural_similarity(a, b, win_size=_WINDOW, full=True, data_range=255)
    return np.asarray(by_pixel, np.float64)


def _by_tile(shown: NDArray[np.bool_], measure: Callable[[tuple[slice, slice]], float]) -> Floats:
    """(4, 4) of a measure; NaN where less than half of a tile is shown."""
    made = np.full((TILES, TILES), np.nan)
    rows, columns = (np.linspace(0, side, TILES + 1).astype(int) for side in shown.shape)
    for i in range(TILES):
        for j in range(TILES):
            tile = np.s_[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
            if shown[tile].size and shown[tile].mean() >= 0.5:
                made[i, j] = measure(tile)
    return made


def remainder(generated: Keypoints, real: Keypoints, found: Model) -> GreyImage:
    """What remains of a generated image when a real one that it shows is taken away, (H, W) uint8, stretched to all grey levels.

    The real image is laid over it and bent until it fits (dense optical flow: Kroeger et al., ECCV 2016, OpenCV's). The share to
    take away is the median of the quotients of both images' slopes, weighted by the real image's: where two pictures lie over
    each other, most edges belong to one of them, so that least absolute deviations find the share of each.

    Args:
        generated, real: the images.
        found: how one lies over the other; it has a transform.
    """
    assert found.transform is not None
    over = _bent(aligned(real.image, generated.image, found.transform), generated.image)
    rest = generated.image.astype(np.float32) - _share(over, generated.image) * over
    low, high = np.percentile(rest, [1, 99])
    return np.asarray(np.clip((rest - low) * (255 / max(high - low, 1)), 0, 255), np.uint8)


def _bent(over: GreyImage, generated: GreyImage) -> GreyImage:
    """The aligned image bent smoothly towards the generated one."""
    optical: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)  # whose types know no None
    flow = cv2.GaussianBlur(optical.calc(generated, over, None), (0, 0), _SMOOTH)
    y, x = np.mgrid[: over.shape[0], : over.shape[1]].astype(np.float32)
    return np.asarray(cv2.remap(over, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _share(over: GreyImage, generated: GreyImage) -> float:
    """How much of the real image is in the generated one, 0 to 1.2."""
    a, b = (cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.5) for image in (over, generated))
    steep, theirs = (np.concatenate([np.diff(image, axis=axis).ravel() for axis in (0, 1)]) for image in (a, b))
    weights = np.abs(steep)
    told = weights > 3  # grey levels a pixel
    if not told.any():
        return 0.0
    quotients, weights = theirs[told] / steep[told], weights[told]
    order = np.argsort(quotients)
    total = np.cumsum(weights[order])
    return float(np.clip(quotients[order][np.searchsorted(total, total[-1] / 2)], 0, 1.2))
