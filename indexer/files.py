"""Writing files so that a kill or a full disk never leaves a half-written one in place, and telling files apart by content."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

BLOCK = 1 << 20  # bytes read at a time
LOCK = ".synthtrace-lock"  # stands in every folder that was made or begun here
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FullDisk(OSError):
    """The disk is full; the message names the folder. What was finished before stays."""


class Locked(Exception):
    """Another process holds the folder."""


@contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Turn the system's ways to say that `folder` has no space left into `FullDisk`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise FullDisk(f"no space left in {folder}; free some and run the same command again: it carries on") from error


def write_atomic(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Call `write` on a temporary file beside `path` (owner only), bring it to the disk and rename it to `path`.

    Raises:
        FullDisk: no space left; nothing remains of the attempt.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with full_disk_named(path.parent):
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a text whole or not at all, readable for its owner only."""

    def put(file: BinaryIO) -> None:
        file.write(text.encode())

    write_atomic(path, put)


def remove_unfinished(folder: Path) -> None:
    """Delete what killed calls of `write_atomic` left in a folder that nobody writes to now."""
    for path in folder.glob(".*.part"):
        path.unlink()


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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system frees it when the process ends, however it ends.

    Raises:
        Locked: another process holds it.
    """
    with open(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked(f"{folder} is in use by another process; wait for it, or name another folder") from error
        yield
