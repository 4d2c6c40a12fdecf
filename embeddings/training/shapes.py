"""Draw abstract training pictures: overlapping textured shapes.

The bundled network trains on them beside phantoms, so that it learns to tell pictures apart and not only chests.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.types import GreyImage

_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def shapes(seed: int, size: int) -> GreyImage:
    """Ellipses, polygons, tubes and blobs over each other, each with a tone and a texture of its own, (size, size) uint8.

    The same seed (0 or more) gives the same pixels with the same library versions.
    """
    rng = np.random.default_rng([0x5AAE5, seed])
    picture = np.full((size, size), rng.uniform(0, 255), np.float32) + _texture(rng, size)
    for _ in range(int(rng.integers(4, 28))):
        mask = np.zeros((size, size), np.uint8)
        _DRAWN[int(rng.integers(len(_DRAWN)))](mask, rng)
        if rng.random() < 0.4:  # soft borders
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.005, 0.03) * size), np.uint8)
        inside = mask.astype(np.float32) * np.float32(rng.uniform(0.4, 1) / 255)
        picture += inside * (np.float32(rng.uniform(0, 255)) + _texture(rng, size) - picture)
    picture += rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(0, 10))
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)


def _texture(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Nothing, stripes, or noise of one grain, (size, size) float32."""
    kind, amount = rng.random(), np.float32(rng.uniform(2, 40))
    if kind < 0.35:
        return np.zeros((size, size), np.float32)
    if kind < 0.5:
        angle, waves = rng.uniform(0, np.pi), rng.uniform(3, 40)
        x = np.linspace(0, 2 * np.pi, size, dtype=np.float32)
        return np.asarray(amount * np.sin(waves * (np.cos(angle) * x + np.sin(angle) * x[:, None])), np.float32)
    cells = int(np.exp(rng.uniform(np.log(3), np.log(size))))
    return np.asarray(cv2.resize(rng.standard_normal((cells, cells), np.float32), (size, size)) * amount, np.float32)


def _place(points: NDArray[np.float64], size: int) -> NDArray[np.int32]:
    """Points in units of the picture's side as OpenCV's fixed-point pixels."""
    return np.rint(points * (size << _SHIFT)).astype(np.int32)


def _outline(rng: np.random.Generator, corners: int, rough: float) -> NDArray[np.float64]:
    """A closed curve round a random centre, (corners, 2)."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    waves = [rng.normal() / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6)]
    radius = 1 + rough * np.sum(waves, axis=0)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None] * np.exp(rng.uniform(np.log(0.03), np.log(0.4), 2))
    turn = rng.uniform(0, 2 * np.pi)
    ring = ring @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.asarray(ring + rng.uniform(0, 1, 2))


def _blob(mask: NDArray[np.uint8], rng: np.random.Generator) -> None:
    cv2.fillPoly(mask, [_place(_outline(rng, 40, rng.uniform(0, 0.3)), len(mask))], 255, cv2.LINE_AA, _SHIFT)


def _polygon(mask: NDArray[np.uint8], rng: np.random.Generator) -> None:
    cv2.fillPoly(mask, [_place(_outline(rng, int(rng.integers(3, 7)), 0.2), len(mask))], 255, cv2.LINE_AA, _SHIFT)


def _ring(mask: NDArray[np.uint8], rng: np.random.Generator) -> None:
    width = max(1, round(rng.uniform(0.005, 0.05) * len(mask)))
    cv2.polylines(mask, [_place(_outline(rng, 40, rng.uniform(0, 0.3)), len(mask))], True, 255, width, cv2.LINE_AA, _SHIFT)


def _tubes(mask: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """A few winding lines from one place."""
    start = rng.uniform(0, 1, 2)
    for _ in range(int(rng.integers(1, 8))):
        path = start + np.cumsum(rng.normal(0, 0.06, (int(rng.integers(3, 9)), 2)), axis=0)
        width = max(1, round(rng.uniform(0.004, 0.03) * len(mask)))
        cv2.polylines(mask, [_place(path, len(mask))], False, 255, width, cv2.LINE_AA, _SHIFT)


def _dots(mask: NDArray[np.uint8], rng: np.random.Generator) -> None:
    for centre in rng.normal(rng.uniform(0, 1, 2), rng.uniform(0.05, 0.3), (int(rng.integers(3, 25)), 2)):
        radius = round(rng.uniform(0.004, 0.03) * len(mask) * (1 << _SHIFT))
        cv2.circle(mask, [int(v) for v in _place(centre, len(mask))], radius, 255, -1, cv2.LINE_AA, _SHIFT)


_DRAWN = (_blob, _blob, _polygon, _ring, _tubes, _dots)
