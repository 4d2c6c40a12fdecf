"""Pictures and files of pictures for the tests of decoding."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embeddings.images.containers.names import is_container
from embeddings.images.decode import decode, members
from embeddings.images.decoding import ArrayFrame, Decoding, Frame
from embeddings.images.formats import decode_bytes

RNG = np.random.default_rng(0)
GREY = (np.kron(RNG.integers(0, 200, (6, 7)), np.ones((8, 8))) + RNG.integers(0, 50, (48, 56))).astype(np.uint8)
COLOUR = np.dstack([GREY, 255 - GREY, np.roll(GREY, 9, 1)])
DEEP = GREY.astype(np.uint16) * 11 + 300  # a 12-bit range
EXACT = Decoding(low=0, high=100)


def encoded(image: NDArray[Any] | Image.Image, fmt: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, fmt, **options)
    return buffer.getvalue()


def frames(folder: Path, data: bytes, name: str = "a.bin", decoding: Decoding | None = None) -> list[Frame]:
    """Decoded in this process, where warnings are errors and a debugger sees it."""
    return list(decode_bytes(data, name, decoding or Decoding()))


def pixels(folder: Path, data: bytes, name: str = "a.bin", decoding: Decoding | None = None) -> NDArray[np.uint8]:
    (frame,) = frames(folder, data, name, decoding)
    assert frame.pixels.dtype == np.uint8
    assert frame.pixels.flags.c_contiguous
    assert frame.pixels.flags.writeable
    return frame.pixels


def every_frame(path: Path, decoding: Decoding) -> Iterator[Frame]:
    """All frames of a file, or of all that a file of many pictures holds, decoded as an index decodes them."""
    if not is_container(path.name):
        yield from decode(path, decoding)
        return
    for member in members(path, decoding):
        if member.sha256:
            frame = None if member.frame is None else ArrayFrame(member.frame, member.reading)
            yield from decode(path / member.name, decoding, member.sha256, frame=frame)


def luma(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("L"))


def half_up(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """The window of a frame without NaN, written as its definition."""
    return np.clip(np.floor((values.astype(np.float64) - low) * 255 / (high - low) + 0.5), 0, 255).astype(np.uint8)
