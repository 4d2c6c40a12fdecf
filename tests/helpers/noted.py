"""Decode broken files in this process, where their warnings are no errors."""

import warnings

import numpy as np
from numpy.typing import NDArray

from embeddings.images.decoding import Decoding
from embeddings.images.formats import decode_bytes


def noted(data: bytes, decoding: Decoding | None = None, name: str = "a.dcm") -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The only frame of a file, and its notes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (frame,) = decode_bytes(data, name, decoding or Decoding())
    return frame.pixels, frame.notes
