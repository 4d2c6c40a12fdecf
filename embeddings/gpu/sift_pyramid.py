"""Scale space of SIFT for many images at once, with OpenCV's conventions (sift.dispatch.cpp): blurs as matrix products."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch

from embeddings.gpu.device import Kept, upload

LAYERS = 3  # scales of an octave in which extrema are looked for
SIGMA = 1.6  # blur of the first layer, in pixels of its octave
BORDER = 5  # pixels at the edge of each octave in which OpenCV looks for nothing


@dataclass(frozen=True)
class ScaleSpace:
    """All octaves of n images, of which the first is of the images at twice their size.

    What a keypoint needs lies in one row of numbers for all octaves, so that keypoints of all of them are computed at once.

    Attributes:
        octaves: (n, 5, h, w) float32 of each octave: differences of successive blurs.
        differences: the same, flat and one after the other.
        blurred: (n, 6, h, w) float32 grey levels of each octave, flat and one after the other.
        heights, widths: (octaves,) int64 of their images.
        starts: (octaves, 2) int64 where each begins in `differences` and in `blurred`.
    """

    octaves: Sequence[torch.Tensor]
    differences: torch.Tensor
    blurred: torch.Tensor
    heights: torch.Tensor
    widths: torch.Tensor
    starts: torch.Tensor


def scale_space(images: torch.Tensor) -> ScaleSpace:
    """Of (n, H, W) uint8; octaves that are too small to hold a keypoint are left out."""
    layer = _blurred(_doubled(images.float()), float(np.sqrt(SIGMA**2 - 1)))  # a camera's blur of 0.5, doubled, is there already
    scales = [SIGMA * 2 ** (number / LAYERS) for number in range(LAYERS + 3)]
    found: list[torch.Tensor] = []
    while min(layer.shape[1:]) > 2 * BORDER:
        layers = [layer]
        for before, after in pairwise(scales):
            layers.append(_blurred(layers[-1], float(np.sqrt(after**2 - before**2))))
        found.append(torch.stack(layers, dim=1))
        layer = _halved(layers[LAYERS])
    octaves = [blurred[:, 1:] - blurred[:, :-1] for blurred in found]
    sizes = [(each.shape[2], each.shape[3], each.numel(), whole.numel()) for each, whole in zip(octaves, found, strict=True)]
    table = np.array(sizes, np.int64).reshape(-1, 4)
    table[:, 2:] = np.cumsum(table[:, 2:], axis=0) - table[:, 2:]
    placed = upload(table, images.device)
    return ScaleSpace(octaves, _flat(octaves, images), _flat(found, images), placed[:, 0], placed[:, 1], placed[:, 2:])


def _flat(octaves: Sequence[torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """All numbers one after the other, none where there is no octave."""
    return torch.cat([images.new_zeros(0, dtype=torch.float32), *(octave.flatten() for octave in octaves)])


def _doubled(images: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(images[:, None], scale_factor=2, mode="bilinear", align_corners=False)[:, 0]


def _halved(images: torch.Tensor) -> torch.Tensor:
    """Every second pixel, as OpenCV's INTER_NEAREST takes them."""
    rows, columns = (torch.arange(old // 2, device=images.device) * old // (old // 2) for old in images.shape[1:])
    return images[:, rows][:, :, columns]


def _blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """(n, h, w) blurred by a Gaussian; float32 products, so not on the tensor cores' TF32, which PyTorch leaves off."""
    down, across = (_blur_weights(size, sigma).on(images.device) for size in images.shape[1:])
    return down @ images @ across.T


@lru_cache(256)
def _blur_weights(size: int, sigma: float) -> Kept:
    """(size, size) weights of the pixels for each blurred one: `cv2.GaussianBlur` of float images, BORDER_REFLECT_101."""
    reach = (round(8 * sigma + 1) | 1) // 2
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    period = max(1, 2 * (size - 1))
    places = (np.arange(size)[:, None] + offsets) % period
    weights = np.zeros((size, size))
    np.add.at(weights, (np.arange(size)[:, None], np.minimum(places, period - places)), kernel / kernel.sum())
    return Kept(weights.astype(np.float32))
