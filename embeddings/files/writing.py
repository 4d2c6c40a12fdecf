"""Atomic writes of all output files: whole or not at all, for the owner only, never through a symbolic link.

Outputs hold patients' scans, and a folder may be one that others can write to. So a file begins under a name that nobody can
guess, is made and never opened (`O_EXCL`, `O_NOFOLLOW`), has mode 0600 before its first byte, and takes its place by renaming.
What others may do in such a folder, they still may: take an output away, or put another file in its place.
"""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # what file systems say that cannot bring a folder to the disk
_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe under the name must not hold us up
_PREFIX, _SUFFIX = ".synthtrace-", ".part"
_cleared: set[tuple[int, int]] = set()  # folders (device, inode) that this process has looked through


class FullDisk(OSError):
    """The disk is full; the message names the folder. What was finished before stays."""


class PlantedLink(OSError):
    """The folder to write to is a link that somebody else has put there."""


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
    """Call `write` on a new file beside `path` (owner only), bring it to the disk and rename it to `path`.

    What a killed process of ours left unfinished in the folder goes at the same time.

    Raises:
        FullDisk: no space left; nothing remains of the attempt.
        PlantedLink: see `make_folder`.
    """
    _refuse_planted(path.parent)
    with full_disk_named(path.parent):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _clear_once(folder)
            name, file = _unfinished(folder)
            try:
                with file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                    os.replace(name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
                raise
            _sync(folder)
        finally:
            os.close(folder)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes as `write_atomic` does."""

    def put(file: BinaryIO) -> None:
        file.write(content)

    write_atomic(path, put)


def write_text(path: Path, text: str) -> None:
    """Write a text as `write_atomic` does."""
    write_bytes(path, text.encode())


def create(path: Path) -> BinaryIO:
    """A new file, open for writing, for its owner only; for the many files of a new folder, which nobody syncs one by one.

    Raises:
        FileExistsError: something is there, were it a link.
    """
    return open(os.open(path, os.O_RDWR | _NEW, 0o600), "w+b")


def make_folder(folder: Path) -> None:
    """Make a folder for its owner only, where it is missing.

    A link to a folder is followed where the user or the administrator made it, as with any program. One that another user made is
    not: that is how somebody gets files to where he wants them.

    Raises:
        PlantedLink: another user has put a link there.
        OSError: something else is in the way.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_planted(folder)


def sync_folder(folder: Path) -> None:
    """Bring names in a folder to the disk, where the file system can."""
    with _opened(folder) as descriptor:
        _sync(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Delete what killed calls of `write_atomic` left in a folder: no file that is being written, none of others."""
    with _opened(folder) as descriptor:
        _clear(descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_planted(folder: Path) -> None:
    with suppress(FileNotFoundError):
        status = os.lstat(folder)
        if stat.S_ISLNK(status.st_mode) and status.st_uid not in (0, os.geteuid()):
            raise PlantedLink(f"{folder} is a link that another user has made; name the folder itself")


def _unfinished(folder: int) -> tuple[str, BinaryIO]:
    """A new file of ours, locked: whoever clears up leaves it alone."""
    while True:
        name = f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        file = open(os.open(name, os.O_WRONLY | _NEW, 0o600, dir_fd=folder), "wb")  # noqa: SIM115 - its caller closes it
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return name, file
        file.close()  # somebody cleared it away before it was locked


def _clear_once(folder: int) -> None:
    status = os.fstat(folder)
    where = status.st_dev, status.st_ino
    if where not in _cleared:
        _clear(folder)
        _cleared.add(where)


def _clear(folder: int) -> None:
    """Delete unfinished files that nobody holds: regular ones of ours."""
    for name in os.listdir(folder):
        if not (name.startswith(_PREFIX) and name.endswith(_SUFFIX)):
            continue
        with suppress(OSError):  # it is being written, or is gone
            descriptor = os.open(name, _LOOK, dir_fd=folder)
            try:
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(name, dir_fd=folder)
            finally:
                os.close(descriptor)


def _sync(folder: int) -> None:
    """Bring the renaming to the disk, where the file system can."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
