"""Open files of many pictures, once for all their members."""

import os
import stat
from collections.abc import Callable
from typing import BinaryIO

from embeddings.images.containers.members import Container
from embeddings.images.containers.names import ARRAYS, TABLES
from embeddings.images.decoding import Decoding
from embeddings.images.errors import Unreadable

_opened: dict[tuple[str, int, int, int, int, Decoding], Container] = {}
_KEPT = 4


def opened(path: str, decoding: Decoding) -> Container:
    """The file, opened once for all its members, as long as it does not change.

    Raises:
        OSError: it cannot be opened.
        ImageError: it is not what its name says.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # or opening a FIFO would wait for ever
    about = os.fstat(file.fileno())
    key = (path, about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, decoding)
    if key in _opened:
        file.close()
        return _opened[key]
    try:
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("not a regular file")
        container = _maker(path.lower())(file, decoding)
    except BaseException:
        file.close()
        raise
    while len(_opened) >= _KEPT:
        _opened.pop(next(iter(_opened))).close()
    _opened[key] = container
    return container


def rest(path: str) -> None:
    """Have all opened files but this one let go of memory."""
    for key, container in _opened.items():
        if key[0] != path:
            container.rest()


def _maker(name: str) -> Callable[[BinaryIO, Decoding], Container]:
    if name.endswith(ARRAYS):
        from embeddings.images.containers.arrays import Npy, Npz

        return Npy if name.endswith(".npy") else Npz
    if name.endswith(TABLES):
        from embeddings.images.containers.tables import Parquet

        return Parquet
    from embeddings.images.containers.archives import Tar, Zip

    return Zip if name.endswith(".zip") else Tar
