"""Keypoints of an image: found once, for view `sift` and for geometric matching. Collections keep what matching needs of them."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from embeddings.types import GreyImage
from embeddings.views.pixels import resized as stretched

# Chosen on benchmarks from seeds 101 and 102 (docs/METHODS.md).
SIZE = 256  # longer side at which keypoints are looked for, pixels
COUNT = 340  # keypoints at most, the strongest: as many as 16 kB hold
CONTRAST = 0.01  # SIFT's contrast threshold (Lowe, IJCV 2004): faint ones tell much of blends
LAYERS = 3  # of an octave: OpenCV compares LAYERS times a keypoint's response with the threshold
WIDTH = 32  # components of a short descriptor
UNIT = 127  # its length: float32 adds products of such whole numbers without rounding, in any order
STEPS = 1.5  # a pixel, in which matching counts places
SIDE = 64  # pixels of the picture
_FINE = 128  # steps of a pixel, in which places are kept
_AXES = Path(__file__).with_name("rootsift_axes.safetensors")
RECORD = np.dtype(
    {
        "names": ["count", "size", "places", "descriptors", "picture"],
        "formats": ["<u2", ("<u4", 2), ("<u2", (COUNT, 2)), ("i1", (COUNT, WIDTH)), ("u1", (SIDE, SIDE))],
        "itemsize": 16 << 10,
    }
)  # of one image in a collection


@dataclass(frozen=True)
class Detected:
    """SIFT of one image at a longer side of 256 pixels, the strongest first.

    Attributes:
        places: (n, 2) float32, x and y, pixels.
        responses: (n,) float32, contrast.
        descriptors: (n, 128) uint8.
    """

    places: NDArray[np.float32]
    responses: NDArray[np.float32]
    descriptors: NDArray[np.uint8]


@dataclass(frozen=True)
class Keypoints:
    """What matching needs of one image.

    Attributes:
        size: height and width, pixels.
        picture: (64, 64) uint8, the image made that small, whatever its shape.
        places: (n, 2) float32, x and y at a longer side of 256 pixels, in steps of 1/128; the strongest first.
        descriptors: (n, 32) int8: principal components of RootSIFT (Arandjelovic and Zisserman, CVPR 2012), of length 127.
    """

    size: tuple[int, int]
    picture: GreyImage
    places: NDArray[np.float32]
    descriptors: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def scale(self) -> float:
        """Pixels at a longer side of 256 for one of the image."""
        return SIZE / max(self.size)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width at a longer side of 256 pixels."""
        return shape_at(self.size, SIZE)

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
    """Keypoints of an image, (H, W) uint8 of any size."""
    return selected(image, detected(resized(image, SIZE)))


def selected(image: GreyImage, found: Detected) -> Keypoints:
    """What matching takes of an image and of what was detected in it."""
    height, width = image.shape
    places = _places(np.rint(found.places * _FINE))
    return Keypoints((height, width), stretched(image, SIDE), places, shortened(found.descriptors))


def recorded(images: Sequence[Keypoints]) -> NDArray[np.uint8]:
    """(n, 16384) RECORD as bytes, what a collection keeps of n images; `kept` reads one."""
    made = np.zeros((len(images), RECORD.itemsize), np.uint8)
    for record, each in zip(made.view(RECORD)[:, 0], images, strict=True):
        record["count"], record["size"], record["picture"] = len(each), each.size, each.picture
        record["places"][: len(each)] = each.places * _FINE
        record["descriptors"][: len(each)] = each.descriptors
    return made


def kept(record: NDArray[np.void]) -> Keypoints:
    """What `recorded` made of an image."""
    count, (height, width) = int(record["count"]), record["size"].tolist()
    return Keypoints((height, width), record["picture"], _places(record["places"][:count]), record["descriptors"][:count])


def _places(steps: NDArray[Any]) -> NDArray[np.float32]:
    """(n, 2) pixels, from steps of 1/128."""
    return np.asarray(steps / _FINE, np.float32)


def detected(image: GreyImage) -> Detected:
    """SIFT of an image of a longer side of 256 pixels, by OpenCV."""
    found, descriptors = _detector().detectAndCompute(image, None)
    if descriptors is None:
        return Detected(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, 128), np.uint8))
    # OpenCV gives them in no order, and more of them where the last are equally strong
    responses = np.array([point.response for point in found], np.float32)
    order = np.argsort(-responses, kind="stable")[:COUNT]
    places = np.array([found[number].pt for number in order], np.float32)
    return Detected(places, responses[order], descriptors[order].astype(np.uint8))  # whole numbers, as float32


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
    if max(image.shape) == size:
        return image
    (height, width), smaller = shape_at(image.shape, size), max(image.shape) > size
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8)


def shape_at(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """Height and width with a longer side of `size`."""
    height, width = (max(1, round(side * (size / max(shape)))) for side in shape)
    return height, width


@cache
def _axes() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean (128,) and axes (128, 32) of RootSIFT, made by scripts/fit_descriptor_axes.py."""
    arrays = load(_AXES.read_bytes())
    return arrays["mean"], arrays["axes"]


_detectors = threading.local()  # a detector is cheap but not free, and its use by two threads at once is nowhere promised


def _detector() -> Any:
    if not hasattr(_detectors, "own"):
        _detectors.own = cv2.SIFT_create(nfeatures=COUNT, contrastThreshold=CONTRAST)  # type: ignore[attr-defined]
    return _detectors.own
