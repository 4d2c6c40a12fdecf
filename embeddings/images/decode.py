"""Decode image files to 8-bit grey frames, in a child process (`embeddings.images.workers`)."""

from collections.abc import Iterator
from pathlib import Path

from embeddings.images.decoding import Decoding, Frame
from embeddings.images.workers import ask

SECONDS = 60.0  # for the next frame


def decode(source: Path | bytes, decoding: Decoding, sha256: str = "", seconds: float = SECONDS) -> Iterator[Frame]:
    """Every frame of an image file, one at a time: pages, animation frames, DICOM frames, slices of NIfTI volumes in turn.

    A child process reads the file once into memory and decodes those bytes, see `embeddings.images.workers`: a decoder that
    crashes, hangs or asks for too much memory costs the file and not this process. The content decides the format, except that
    NIfTI goes by its suffix.

    Args:
        source: a file, or the bytes of one.
        decoding: how pixels become grey, and the limits.
        sha256: hex; what the bytes must hash to, empty where that is not known.
        seconds: the next frame must come within so long; ten times as much processor time for the whole file.

    Raises:
        ImageError: before or while iterating; nothing else comes out of a hostile file. A frame that came out before is good by
            itself, the file is not.
    """
    return ask(source, decoding, sha256, seconds)
