"""Augmentations that imitate what generators do to training images, to train the bundled network on.

A distorted picture comes from one source or from several, with the share that each has in it.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.phantoms.exposure import smooth_noise
from embeddings.types import GreyImage

Pixels = NDArray[np.float32]

# Displacements, blur and grain are told for pictures of this size.
_UNIT = 256


def distorted(sources: Sequence[GreyImage], rng: np.random.Generator) -> tuple[GreyImage, NDArray[np.float64]]:
    """A picture such as a generator makes of one to three sources.

    Args:
        sources: 1 to 3 square images of one size, (s, s) uint8, the main one first.
        rng: source of all draws.

    Returns:
        The picture, (s, s) uint8, and the share of each source in it, adding up to 1.
    """
    picture, shares = mixed([s.astype(np.float32) for s in sources], rng)
    picture = _moved(picture, rng, float(rng.beta(1.2, 1.6)))
    picture = _toned(picture, rng)
    picture = _degraded(picture, rng)
    return _rounded(picture), shares


def _rounded(picture: Pixels) -> GreyImage:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


# Several sources in one ---------------------------------------------------------------------------------------------------


def mixed(pictures: Sequence[Pixels], rng: np.random.Generator) -> tuple[Pixels, NDArray[np.float64]]:
    """Sources laid over each other, put together from regions, or one's fine detail on another's anatomy."""
    if len(pictures) == 1:
        return pictures[0], np.ones(1)
    if rng.random() < 0.4:  # generators do not keep sources aligned
        pictures = [_moved(p, rng, float(rng.uniform(0, 0.7))) for p in pictures]
    how = rng.random()
    if how < 0.45:
        return _overlaid(pictures, rng)
    if how < 0.75 or len(pictures) > 2:
        return _patched(pictures, rng)
    return _retextured(pictures, rng)


def _overlaid(pictures: Sequence[Pixels], rng: np.random.Generator) -> tuple[Pixels, NDArray[np.float64]]:
    """A weighted mean; no source has less than a fifth."""
    shares = 0.2 + (1 - 0.2 * len(pictures)) * rng.dirichlet(np.ones(len(pictures)))
    return np.asarray(sum(np.float32(a) * p for a, p in zip(shares, pictures, strict=True)), np.float32), shares


def _patched(pictures: Sequence[Pixels], rng: np.random.Generator) -> tuple[Pixels, NDArray[np.float64]]:
    """Regions with smooth borders; a share is an area."""
    size = len(pictures[0])
    cells = int(rng.integers(2, 6))
    fields = np.stack([smooth_noise(rng, (size, size), cells) for _ in pictures])
    masks = np.exp((fields - fields.max(axis=0)) * np.float32(rng.uniform(4, 30)))
    masks /= masks.sum(axis=0)
    shares = masks.mean(axis=(1, 2), dtype=np.float64)
    return np.asarray((masks * np.stack(pictures)).sum(axis=0)), shares / shares.sum()


def _retextured(pictures: Sequence[Pixels], rng: np.random.Generator) -> tuple[Pixels, NDArray[np.float64]]:
    """The first one's low frequencies with the second one's high ones."""
    sigma = rng.uniform(2, 10) * len(pictures[0]) / _UNIT
    low, other = (cv2.GaussianBlur(p, (0, 0), sigma) for p in pictures)
    return np.asarray(low + (pictures[1] - other) * np.float32(rng.uniform(0.6, 1.2)), np.float32), np.array([0.6, 0.4])


# One picture --------------------------------------------------------------------------------------------------------------


def _moved(picture: Pixels, rng: np.random.Generator, strength: float) -> Pixels:
    """Mirror, crop, rotation, scale, shift and a smooth deformation in one resampling; `strength` is 0 to 1."""
    size = len(picture)
    unit = size / _UNIT
    turn, shift = np.deg2rad(rng.uniform(-11, 11) * strength), rng.uniform(-13, 13, 2) * strength * unit
    scale, aspect = np.exp(rng.uniform(-0.14, 0.14, 2) * strength * [1, 0.3])
    if rng.random() < 0.35:  # a part of it, or all of it smaller
        zoom = np.exp(rng.uniform(-0.35, 0.42))
        scale, shift = scale * zoom, shift + rng.uniform(-0.5, 0.5, 2) * abs(1 - 1 / zoom) * size
    across, down = scale * aspect, scale / aspect
    flip = -1 if rng.random() < 0.12 else 1
    x = np.arange(size, dtype=np.float32) - np.float32(size / 2)
    cosine, sine = np.cos(turn), np.sin(turn)
    map_x = np.float32(flip * cosine / across) * x - np.float32(flip * sine / down) * x[:, None]
    map_y = np.float32(sine / across) * x + np.float32(cosine / down) * x[:, None]
    map_x += np.float32(size / 2 + shift[0])
    map_y += np.float32(size / 2 + shift[1])
    amplitude, cells = 15 * unit * strength, int(rng.integers(3, 10))
    for field in (map_x, map_y):
        bend = smooth_noise(rng, (size, size), cells)
        field += bend * np.float32(amplitude * min(1.0, 6 / cells) / max(float(np.abs(bend).max()), 1e-6))
    border = cv2.BORDER_REPLICATE if rng.random() < 0.75 else cv2.BORDER_CONSTANT
    return np.asarray(cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=border), np.float32)


def _toned(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Window, gamma, brightness; now and then uneven, rarely inverted."""
    low, high = (0.0, 255.0) if rng.random() < 0.6 else (rng.uniform(-60, 60), rng.uniform(195, 340))
    picture = np.clip((picture - np.float32(low)) / np.float32(high - low), 0, 1)
    picture = np.asarray(cv2.pow(picture, float(np.exp(rng.normal(0, 0.25)))), np.float32)
    picture = picture * np.float32(255 * np.exp(rng.normal(0, 0.15))) + np.float32(rng.normal(0, 14))
    if rng.random() < 0.15:
        picture = picture * (1 + np.float32(rng.uniform(0, 0.25)) * smooth_noise(rng, picture.shape, 3))
    return 255 - picture if rng.random() < 0.02 else picture


def _degraded(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Blur or sharpening, a coarser grid in between, grain, compression, a hidden part; each now and then."""
    size = len(picture)
    unit = size / _UNIT
    if rng.random() < 0.7:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.2, 2.2) * unit + 0.05), np.float32)
    elif rng.random() < 0.5:
        smooth = cv2.GaussianBlur(picture, (0, 0), 1.5 * unit)
        picture = picture + np.float32(rng.uniform(0, 1)) * (picture - smooth)
    if rng.random() < 0.25:
        coarse = max(16, round(size * rng.uniform(0.3, 0.9)))
        ways = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)
        down, up = rng.integers(len(ways)), 1 + rng.integers(2)
        small = cv2.resize(picture, (coarse, coarse), interpolation=ways[down])
        picture = np.asarray(cv2.resize(small, (size, size), interpolation=ways[up]), np.float32)
    if rng.random() < 0.75:
        grain = rng.standard_normal(picture.shape, np.float32)
        grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.3, 1.2)), np.float32)
        picture = picture + grain * np.float32(rng.uniform(0, 16) / max(float(grain.std()), 1e-6))
    if rng.random() < 0.15:
        _, code = cv2.imencode(".jpg", _rounded(picture), (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(10, 80))))
        picture = np.asarray(cv2.imdecode(code, cv2.IMREAD_GRAYSCALE), np.float32)
    if rng.random() < 0.12:
        top, left, height, width = (rng.uniform(0, 1, 4) * [0.9, 0.9, 0.35, 0.35] * size).astype(int)
        picture = picture.copy()
        picture[top : top + height + 1, left : left + width + 1] = rng.uniform(0, 255)
    return picture
