"""Names of files that hold many pictures, and of the pictures in them."""

import os
from pathlib import PurePosixPath

ARRAYS = (".npy", ".npz")
ARCHIVES = (".zip", ".tar")
TABLES = (".parquet",)
CONTAINERS = (*ARRAYS, *ARCHIVES, *TABLES)
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_LONGEST = 4096  # characters of a name
NESTED = (*ARCHIVES, *TABLES, *COMPRESSED_TARS, ".npz", ".7z", ".rar")  # what is not read inside an archive


def is_container(path: str) -> bool:
    """Whether a file of this name holds many pictures."""
    return path.lower().endswith(CONTAINERS)


def split(path: str) -> tuple[str, str] | None:
    """The file that holds many pictures and the name in it: ``a/b.zip/c/d.png`` is ``c/d.png`` in ``a/b.zip``.

    The name is empty where the path is such a file itself. None where it is neither: nothing is looked up on disk for paths that
    do not look so.
    """
    lower = path.lower()
    if not any(suffix in lower for suffix in CONTAINERS):
        return None
    parts = PurePosixPath(path).parts
    for count in range(1, len(parts) + 1):
        if is_container(parts[count - 1]):
            file = os.path.join(*parts[:count])
            if os.path.isfile(file):
                return file, "/".join(parts[count:])
    return None


def array_of(path: str) -> str:
    """The file of an array whose frames are read one by one; empty where the path names no such array."""
    found = split(path)
    return found[0] if found and found[0].lower().endswith(ARRAYS) else ""


def is_nested(path: str) -> bool:
    """Whether a path, by the name of a folder in it, leads into an archive or a table."""
    return any(part.lower().endswith((*ARCHIVES, *TABLES)) for part in PurePosixPath(path).parts[:-1])


def leads_out(name: str) -> bool:
    """Whether a member's name is no path below its archive."""
    if not name or len(name) > _LONGEST or "\0" in name:
        return True
    return any(part in ("", ".", "..") for part in name.split("/"))
