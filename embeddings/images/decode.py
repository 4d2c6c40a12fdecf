"""Decode image files to 8-bit grey frames, in a child process (`embeddings.images.workers`)."""

from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from embeddings.images import workers
from embeddings.images.containers.members import Member
from embeddings.images.decoding import ArrayFrame, Decoding, Frame

SECONDS = 60.0  # for the next frame


def decode(
    source: Path | bytes, decoding: Decoding, sha256: str = "", seconds: float = SECONDS, frame: ArrayFrame | None = None
) -> Iterator[Frame]:
    """Every frame of an image file, one at a time: pages, animation frames, DICOM frames, slices of NIfTI volumes in turn.

    A child process reads the file once into memory and decodes those bytes, see `embeddings.images.workers`: a decoder that
    crashes, hangs or asks for too much memory costs the file and not this process. The content decides the format, except that
    NIfTI goes by its suffix.

    Args:
        source: a file, an image in an archive or a table (``archive.zip/member.png``), an array in an .npz file
            (``set.npz/images``), or the bytes of an image file.
        decoding: how pixels become grey, and the limits.
        sha256: hex; what the bytes must hash to, empty where that is not known.
        seconds: the next frame must come within so long; ten times as much processor time for the whole file.
        frame: this frame of an array alone; `sha256` is then that of the frame.

    Raises:
        ImageError: before or while iterating; nothing else comes out of a hostile file. A frame that came out before is good by
            itself, the file is not.
    """
    return workers.ask(workers.Request(source, decoding, sha256, seconds, frame))


def decode_all(requests: Iterable[workers.Request]) -> Generator[workers.Decoded, None, None]:
    """Every frame of file after file, see `decode`; the next files are decoded while the frames of one are used.

    Args:
        requests: the files, none of them as bytes.
    """
    return workers.ask_all(requests)


def members(path: Path, decoding: Decoding, seconds: float = SECONDS) -> Iterator[Member]:
    """What a file of many pictures holds: the image files in an archive or a table, the frames of arrays. A child reads it.

    Args:
        path: of the file.
        decoding: how pixels become grey, and the limits.
        seconds: as of `decode`.

    Raises:
        ImageError: while iterating: there are no more, because of the file.
    """
    return workers.ask_members(workers.Request(path, decoding, "", seconds))
