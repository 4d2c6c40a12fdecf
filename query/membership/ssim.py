"""Structural similarity of pictures (SSIM; Wang et al., IEEE Transactions on Image Processing 2004), as scikit-image has it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.types import GreyImage

SIZE = 256  # pictures of another size are brought to it
WINDOW = 7  # pixels, all of equal weight
_MIDDLE = 128.0  # taken off before squares are summed, which keeps float32 exact enough
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """A picture, and what SSIM needs of it alone.

    Attributes:
        grey: (SIZE, SIZE) levels less the middle one.
        mean, variance: (SIZE - 6, SIZE - 6) of each window that lies inside.
        blank: all pixels are alike.
    """

    grey: Plane
    mean: Plane
    variance: Plane
    blank: bool

    @classmethod
    def of(cls, picture: GreyImage) -> "Seen":
        """From an (H, W) uint8 picture."""
        if picture.shape != (SIZE, SIZE):
            picture = np.asarray(cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)
        grey = picture.astype(np.float32) - np.float32(_MIDDLE)
        mean = _windows(grey)
        return cls(grey, mean, _sample(_windows(grey * grey) - mean * mean), bool(picture.min() == picture.max()))


def similarity(one: Seen, other: Seen) -> float:
    """Mean SSIM over all windows: 1 for the same picture, about 0 for unlike ones; sample covariances, 8 bits of range."""
    covariance = _sample(_windows(one.grey * other.grey) - one.mean * other.mean)
    left, right = one.mean + np.float32(_MIDDLE), other.mean + np.float32(_MIDDLE)
    alike = (2 * left * right + _C1) * (2 * covariance + _C2)
    most = (left * left + right * right + _C1) * (one.variance + other.variance + _C2)
    return float((alike / most).mean(dtype=np.float64))


def similarities(pictures: Sequence[Seen], others: Sequence[Seen]) -> NDArray[np.float64]:
    """(n, m) of each with each."""
    return np.array([[similarity(one, other) for other in others] for one in pictures]).reshape(len(pictures), len(others))


def _windows(plane: Plane) -> Plane:
    half = WINDOW // 2
    return np.asarray(cv2.boxFilter(plane, -1, (WINDOW, WINDOW)), np.float32)[half:-half, half:-half]


def _sample(variance: Plane) -> Plane:
    """From the mean over a window's pixels to the sample's."""
    return np.asarray(variance * np.float32(WINDOW**2 / (WINDOW**2 - 1)), np.float32)
