"""Window grey values deeper than 8 bits to 8-bit grey, in bounded memory."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embeddings.images.decoding import Decoding
from embeddings.images.errors import BadPixels
from embeddings.types import GreyImage

BLOCK = 1 << 20  # values computed with at a time
Scale = Callable[[NDArray[Any]], NDArray[Any]]  # stored values to real ones, value by value


def window(values: NDArray[Any], low: float, high: float, scale: Scale | None = None) -> GreyImage:
    """Linear map of low..high to 0..255, rounded half up, clipped.

    Args:
        values: any shape, any real dtype. NaN becomes 0.
        low, high: what becomes 0 and 255. Where they are equal all becomes 0.
        scale: makes of `values` those that are windowed.

    Returns:
        uint8 of the same shape, C order.

    Raises:
        BadPixels: high - low is not finite.
    """
    span = high - low
    if not math.isfinite(span):
        raise BadPixels(f"values from {low:.4g} to {high:.4g} cannot be windowed")
    grey = np.zeros(values.shape, np.uint8)
    if span <= 0 or not values.size:
        return grey
    rows = max(1, BLOCK * len(values) // values.size)
    for start in range(0, len(values), rows):
        with np.errstate(all="ignore"):
            block = values[start : start + rows] if scale is None else scale(values[start : start + rows])
            scaled = (block.astype(np.float64, order="C") - low) / span * 255 + 0.5
        # fmax rather than clip, because it turns NaN into 0
        grey[start : start + rows] = np.fmin(np.fmax(scaled, 0), 255).astype(np.uint8)
    return grey


def luma(rgb: NDArray[Any], bits: int) -> GreyImage:
    """(H, W, 3) RGB of so many bits as (H, W) grey, ITU-R 601; of deeper colour the high byte counts."""
    eight = (rgb >> max(bits - 8, 0)).astype(np.uint8)
    return np.array(Image.fromarray(np.ascontiguousarray(eight)).convert("L"))


def window_limits(values: NDArray[Any], decoding: Decoding) -> tuple[float, float]:
    """The fixed window, or the two percentiles of the finite values; their extremes where the percentiles are equal.

    Raises:
        BadPixels: values are not real numbers, or none of them is finite.
    """
    finite = values[np.isfinite(values)] if _real(values.dtype).kind == "f" else values
    return _limits(finite, decoding, overwrite=finite is not values)


def scaled_limits(stored: NDArray[Any], scale: Scale, decoding: Decoding) -> tuple[float, float]:
    """As `window_limits` of the scaled values; these are never all in memory where stored ones are integers of up to 16 bits.

    Args:
        stored: (n,) values, in any order, at least one.
        scale: makes of them those that count.
    """
    blocks = [stored[start : start + BLOCK] for start in range(0, len(stored), BLOCK)]
    with np.errstate(all="ignore"):
        dtype = _real(scale(stored[:1]).dtype)
        if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
            return _limits_of_few(blocks, scale, decoding)
        finite = np.empty(sum(int(np.isfinite(scale(block)).sum()) for block in blocks), dtype)
        start = 0
        for values in map(scale, blocks):
            values = values[np.isfinite(values)]
            finite[start : start + len(values)] = values
            start += len(values)
    return _limits(finite, decoding, overwrite=True)


def copied(stored: np.dtype[Any], scaled: np.dtype[Any]) -> int:
    """Bytes a value that `scaled_limits` takes beside the stored ones."""
    return 0 if stored.kind in "iu" and stored.itemsize <= 2 else scaled.itemsize


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind not in "buif":
        raise BadPixels(f"pixels of type {dtype} are not real numbers")
    return dtype


def _limits(finite: NDArray[Any], decoding: Decoding, overwrite: bool) -> tuple[float, float]:
    if not finite.size:
        raise BadPixels("no pixel has a finite value")
    if decoding.window is not None:
        return decoding.window
    with np.errstate(all="ignore"):
        low, high = np.percentile(finite, (decoding.low, decoding.high), overwrite_input=overwrite)
    if low == high:  # a small bright structure on an even ground
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def _limits_of_few(blocks: list[NDArray[Any]], scale: Scale, decoding: Decoding) -> tuple[float, float]:
    """The same from how often each of at most 65,536 stored values occurs."""
    least = np.iinfo(blocks[0].dtype).min
    counts = np.zeros(1 << 8 * blocks[0].dtype.itemsize, np.int64)
    for block in blocks:
        counts += np.bincount(block.astype(np.int64) - least, minlength=len(counts))
    (there,) = np.nonzero(counts)
    values = scale((there + least).astype(blocks[0].dtype.newbyteorder("="))).astype(np.float64)
    there, values = there[np.isfinite(values)], values[np.isfinite(values)]
    if not len(values):
        raise BadPixels("no pixel has a finite value")
    if decoding.window is not None:
        return decoding.window
    order = np.argsort(values, kind="stable")
    values, ends = values[order], np.cumsum(counts[there][order])
    low, high = (_percentile(values, ends, percent) for percent in (decoding.low, decoding.high))
    return (low, high) if low != high else (float(values[0]), float(values[-1]))


def _percentile(values: NDArray[np.float64], ends: NDArray[np.int64], percent: float) -> float:
    """`numpy.percentile` of sorted values, each as often as `ends`, the running sum, says; to the last bit."""
    place = (int(ends[-1]) - 1) * (percent / 100)
    before = math.floor(place)
    a, b = (float(values[np.searchsorted(ends, min(rank, int(ends[-1]) - 1), "right")]) for rank in (before, before + 1))
    t = place - before
    return a + (b - a) * t if t < 0.5 else b - (b - a) * (1 - t)
