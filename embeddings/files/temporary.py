"""Temporary folders that are deleted after use, or by the next command if the process was killed."""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from embeddings.files.writing import create

PREFIX = "synthtrace-temporary-"
_LOCK = "lock"  # held as long as the folder is used; the system lets go of it when the process ends, however it ends
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def temporary_folder(within: Path | None = None) -> Iterator[Path]:
    """A new folder for its owner only, which goes away with all that is in it.

    Args:
        within: a folder on the disk where the content will stay; what killed processes left there goes first. Default the
            system's folder for temporary files, which every command looks through when it starts.

    Raises:
        FileNotFoundError: the system has no such folder.
    """
    if within is not None:
        remove_stale(within)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(within), dir=within))  # mode 0700
    try:
        with create(folder / f".{_LOCK}") as lock:
            with suppress(OSError):  # not every file system has locks; then nobody clears up either
                fcntl.flock(lock, fcntl.LOCK_EX)
                os.rename(folder / f".{_LOCK}", folder / _LOCK)  # from here on others may look at it
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_stale(within: Path | None = None) -> None:
    """Delete the temporary folders of processes that were killed: those of this user whose lock is there and free."""
    with suppress(OSError):
        for folder in list(Path(within or tempfile.gettempdir()).glob(f"{_prefix(within)}*")):
            with suppress(OSError):
                _remove_if_free(folder)


def _prefix(within: Path | None) -> str:
    return PREFIX if within is None else f".{PREFIX}"


def _remove_if_free(folder: Path) -> None:
    descriptor = os.open(folder, _LOOK | os.O_DIRECTORY)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return
        lock = os.open(_LOCK, _LOOK, dir_fd=descriptor)
        try:
            if stat.S_ISREG(os.fstat(lock).st_mode):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where the process lives
                shutil.rmtree(folder)
        finally:
            os.close(lock)
    finally:
        os.close(descriptor)
