"""Resizing as two matrix products: as Pillow's LANCZOS to the bit, as OpenCV's INTER_AREA but for rare roundings."""

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from embeddings.gpu.device import Kept, upload
from embeddings.views.pixels import resized

_PRECISION = 1 << 22  # Pillow's weights of 8-bit images are whole numbers of such parts (Resample.c, PRECISION_BITS)


def lanczos(images: NDArray[np.uint8], size: int, where: torch.device) -> torch.Tensor:
    """(n, H, W) uint8 -> (n, size, size) float64 there, what Pillow's `resize` gives, equal to the bit.

    Weights and grey levels are whole numbers, and their sums below 2**53, so float64 products are exact in any order. Pillow 13
    resizes across first, unless the image is the higher by some measure: such images are left to it.
    """
    height, width = images.shape[1:]
    if height > width:
        small = [Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS) for image in images]
        return upload(np.stack([np.asarray(image) for image in small]), where).double()
    down, across = (_lanczos_weights(old, size).on(where) for old in (height, width))
    return _to_8_bits(down @ _to_8_bits(upload(images, where).double() @ across.T))  # Pillow keeps 8 bits between its passes too


def area(images: NDArray[np.uint8], size: int, where: torch.device) -> torch.Tensor:
    """(n, H, W) uint8 -> (n, size, size) float32 whole grey levels there, as `embeddings.views.pixels.resized`.

    OpenCV sums in single precision: where a sum is half a grey level but for rounding, the level can be the next one. Images that
    must grow are left to OpenCV.
    """
    height, width = images.shape[1:]
    if min(height, width) < size:
        return upload(np.stack([resized(image, size) for image in images]), where).float()
    down, across = (_area_weights(old, size).on(where) for old in (height, width))
    sums = down @ upload(images, where).double() @ across.T
    halves_up = height == width == 2 * size  # OpenCV halves images with whole numbers, which rounds halves up
    return (torch.floor(sums + 0.5) if halves_up else torch.round(sums)).clamp(0, 255).float()


def _to_8_bits(sums: torch.Tensor) -> torch.Tensor:
    return torch.floor((sums + _PRECISION // 2) / _PRECISION).clamp(0, 255)


@lru_cache(256)
def _lanczos_weights(old: int, new: int) -> Kept:
    """(new, old) whole weights of Pillow's LANCZOS filter (Resample.c: precompute_coeffs, normalize_coeffs_8bpc)."""
    scale = old / new
    wide = max(scale, 1.0)
    weights = np.zeros((new, old))
    for place in range(new):
        centre = (place + 0.5) * scale
        first, end = max(0, int(centre - 3 * wide + 0.5)), min(old, int(centre + 3 * wide + 0.5))
        raw = [_windowed_sinc((x - centre + 0.5) * (1 / wide)) for x in range(first, end)]
        total = 0.0
        for weight in raw:
            total += weight
        for x, weight in enumerate(raw, first):
            share = (weight / total if total else weight) * _PRECISION
            weights[place, x] = int(share - 0.5 if share < 0 else share + 0.5)
    return Kept(weights)


def _windowed_sinc(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3 <= x < 3 else 0.0


def _sinc(x: float) -> float:
    return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


@lru_cache(256)
def _area_weights(old: int, new: int) -> Kept:
    """(new, old) shares of the old pixels in each new one, where it covers them."""
    edges = np.arange(new + 1) * (old / new)
    pixels = np.arange(old)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return Kept(np.maximum(covered, 0) * (new / old))
