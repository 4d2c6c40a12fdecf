"""Hash files by content, and lock a folder against other processes."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embeddings.errors import SynthtraceError
from embeddings.images.pieces import pieces

BLOCK = 1 << 20  # bytes read at a time
LOCK = ".synthtrace-lock"  # stands in every folder that was made or begun here


class Locked(SynthtraceError):
    """Another process holds the folder."""


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hashed(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and number of an image's bytes, of one read; of a header and its data file those of both, in this order.

    Raises:
        OSError: a file cannot be read.
        BadPixels: see `pieces`.
    """
    first, *more = pieces(path)
    with open(first, "rb") as file:
        digest, size = hashlib.file_digest(file, "sha256"), file.tell()
    for piece in more:
        with open(piece, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
            size += file.tell()
    return digest.hexdigest(), size


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system frees it when the process ends, however it ends.

    Raises:
        Locked: another process holds it.
    """
    with open(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked(f"{folder} is in use by another process; wait for it, or name another folder") from error
        yield
