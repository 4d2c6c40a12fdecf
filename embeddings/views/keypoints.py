"""Keypoints of one image for geometric matching: places, and RootSIFT descriptors of 32 bytes."""

import threading
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from embeddings.types import GreyImage

# Chosen on benchmarks from seeds 101 and 102 (docs/METHODS.md).
SIZE = 256  # longer side at which keypoints are looked for, pixels
COUNT = 400  # keypoints at most, the strongest first
CONTRAST = 0.01  # SIFT's contrast threshold (Lowe, IJCV 2004): faint ones tell much of blends
WIDTH = 32  # components of a short descriptor
UNIT = 127  # its length: float32 adds products of such whole numbers without rounding, in any order
STEPS = 1.5  # a pixel, in which matching counts places
_AXES = Path(__file__).with_name("rootsift_axes.safetensors")


@dataclass(frozen=True)
class Keypoints:
    """Local features of one image, at a longer side of 256 pixels.

    Attributes:
        image: (H, W) uint8, resized.
        scale: pixels of the resized image for one of the original.
        places: (n, 2) float32, x and y; the strongest first.
        descriptors: (n, 32) int8: principal components of RootSIFT (Arandjelovic and Zisserman, CVPR 2012), of length 127.
    """

    image: GreyImage
    scale: float
    places: NDArray[np.float32]
    descriptors: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def points(self) -> NDArray[np.complex64]:
        """(n,) places as x + iy."""
        return np.ascontiguousarray(self.places, np.float32).view(np.complex64).reshape(-1)

    @cached_property
    def placed(self) -> NDArray[np.float32]:
        """(n, 36) whole numbers: descriptor, place in steps from the centre, minus its square, 1.

        Such a row times another with the last three in another order is the similarity less the squared distance of places.
        """
        places = np.rint(STEPS * (self.places - SIZE / 2))
        ones = np.ones((len(places), 1))
        return np.hstack([self.descriptors, places, -(places * places).sum(axis=1, keepdims=True), ones]).astype(np.float32)


def keypoints(image: GreyImage) -> Keypoints:
    """Local features of an image, (H, W) uint8 of any size."""
    small = resized(image, SIZE)
    places, descriptors = strongest(small)
    return Keypoints(small, max(small.shape) / max(image.shape), places, shortened(descriptors))


def strongest(image: GreyImage) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Places (n, 2) and SIFT descriptors (n, 128), whole numbers, of an image of a longer side of 256 pixels."""
    found, descriptors = detect(image, COUNT, CONTRAST)
    if descriptors is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    # OpenCV gives more where the last are equally strong
    return np.array([point.pt for point in found[:COUNT]], np.float32), descriptors[:COUNT]


def shortened(descriptors: NDArray[Any]) -> NDArray[np.int8]:
    """(n, 128) SIFT descriptors, whole numbers -> (n, 32) int8."""
    mean, axes = _axes()
    short = (root_sift(descriptors) - mean) @ axes
    short *= UNIT / np.maximum(np.sqrt((short * short).sum(axis=1, keepdims=True)), 1e-6)
    return np.rint(short).astype(np.int8)


def root_sift(descriptors: NDArray[Any]) -> NDArray[np.float32]:
    """(n, 128) whole numbers -> float32 unit rows (Arandjelovic and Zisserman, CVPR 2012)."""
    shares = descriptors.astype(np.float32)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
    return np.sqrt(shares, out=shares)


def resized(image: GreyImage, size: int) -> GreyImage:
    """The image with a longer side of `size` pixels."""
    height, width = image.shape
    scale = size / max(height, width)
    if scale == 1:
        return image
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8)


@cache
def _axes() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean (128,) and axes (128, 32) of RootSIFT, made by scripts/fit_descriptor_axes.py."""
    arrays = load(_AXES.read_bytes())
    return arrays["mean"], arrays["axes"]


_detectors = threading.local()  # a detector is cheap but not free, and its use by two threads at once is nowhere promised


def detect(image: GreyImage, count: int, contrast: float) -> tuple[Any, Any]:
    """OpenCV's keypoints, the strongest, and their SIFT descriptors, None where there is no keypoint."""
    detectors = _detectors.__dict__.setdefault("detectors", {})
    if (count, contrast) not in detectors:
        detectors[count, contrast] = cv2.SIFT_create(nfeatures=count, contrastThreshold=contrast)  # type: ignore[attr-defined]
    found, descriptors = detectors[count, contrast].detectAndCompute(image, None)
    return found, descriptors
