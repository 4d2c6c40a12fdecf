"""Bring pixels of any number type to 8-bit grey: one rule for each type, see docs/FORMATS.md."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embeddings.images.decoding import Decoding
from embeddings.images.windowing import window, window_limits
from embeddings.types import GreyImage

_DEPTHS = (8, 10, 12, 14, 16, 24, 32, 48, 64)  # bits that colour deeper than 8 bits is taken to hold


def grey_of(values: NDArray[Any], bits: int, decoding: Decoding) -> GreyImage:
    """Grey pixels, (H, W), as 8-bit grey.

    Args:
        values: up to 8 bits fill the range, signed ones count from their least value; deeper ones are windowed.
        bits: of a stored value.
        decoding: the window.

    Raises:
        BadPixels: see `window_limits`.
    """
    if values.dtype.kind in "bui" and bits <= 8:
        return _eight_bits(values, bits)
    return window(values, *window_limits(values, decoding))


def colour_as_grey(values: NDArray[Any], bits: int, decoding: Decoding) -> GreyImage:
    """Colour pixels, (H, W, 3) RGB or (H, W, 4) CMYK, as 8-bit grey; see `colour_as_8_bits`."""
    eight = np.ascontiguousarray(colour_as_8_bits(values, bits, decoding))
    mode = "RGB" if eight.shape[2] == 3 else "CMYK"
    return np.array(Image.frombytes(mode, (eight.shape[1], eight.shape[0]), eight.tobytes()).convert("L"))


def colour_as_8_bits(values: NDArray[Any], bits: int, decoding: Decoding) -> NDArray[np.uint8]:
    """Samples of colour, of any shape, in 8 bits.

    Of unsigned samples deeper than 8 bits the high byte is kept, of as many bits as the picture holds: 12-bit colour in
    16 bits would be black otherwise. Signed and floating-point samples are windowed, all of them by one window.
    """
    if values.dtype.kind in "bui" and bits <= 8:
        return _eight_bits(values, bits)
    if values.dtype.kind != "u":
        return window(values, *window_limits(values, decoding))
    most = int(values.max(initial=0))
    held = next(depth for depth in _DEPTHS if most < 1 << depth)
    eight: NDArray[np.uint8] = (values >> values.dtype.type(held - 8)).astype(np.uint8)
    return eight


def _eight_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Integers of up to 8 bits, spread over 0..255."""
    if values.dtype.kind == "i":
        values = (values.astype(np.int16) + (1 << bits - 1)).astype(np.uint8)
    if bits == 8:
        return np.array(values, np.uint8, order="C")
    most = (1 << bits) - 1
    return ((values.astype(np.uint16) * 255 + most // 2) // most).astype(np.uint8, order="C")
