"""Scale space of SIFT for many images at once, with OpenCV's conventions (sift.dispatch.cpp): blurs as matrix products."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch

from embeddings.gpu.device import Kept

LAYERS = 3  # scales of an octave in which extrema are looked for
SIGMA = 1.6  # blur of the first layer, in pixels of its octave
BORDER = 5  # pixels at the edge of each octave in which OpenCV looks for nothing


@dataclass(frozen=True)
class Octave:
    """One octave of n images.

    Attributes:
        number: 0 for the image at twice its size, 1 for its own, and so on.
        blurred: (n, 6, h, w) float32 grey levels.
        differences: (n, 5, h, w) of successive ones.
    """

    number: int
    blurred: torch.Tensor
    differences: torch.Tensor


def octaves(images: torch.Tensor) -> list[Octave]:
    """Of (n, H, W) uint8; those that are too small to hold a keypoint are left out."""
    layer = _blurred(_doubled(images.float()), float(np.sqrt(SIGMA**2 - 1)))  # a camera's blur of 0.5, doubled, is there already
    found: list[Octave] = []
    scales = [SIGMA * 2 ** (number / LAYERS) for number in range(LAYERS + 3)]
    while min(layer.shape[1:]) > 2 * BORDER:
        layers = [layer]
        for before, after in pairwise(scales):
            layers.append(_blurred(layers[-1], float(np.sqrt(after**2 - before**2))))
        blurred = torch.stack(layers, dim=1)
        found.append(Octave(len(found), blurred, blurred[:, 1:] - blurred[:, :-1]))
        layer = _halved(layers[LAYERS])
    return found


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
