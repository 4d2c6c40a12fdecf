"""Pairs of files that hold one image: the header and the voxels of NIfTI or Analyze. The header's name stands for both."""

import os

HEADERS = (".hdr", ".hdr.gz")
_VOXELS = (".img", ".img.gz")
_SIZES = tuple(size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big"))  # a header begins with its length


def is_header(path: str) -> bool:
    """Whether a file is the header of a pair, by its name and how it begins: other formats use the suffix as well.

    Raises:
        OSError: it cannot be read.
    """
    if not path.lower().endswith(HEADERS):
        return False
    with open(path, "rb") as file:
        head = file.read(4)
    return head in _SIZES or head[:2] == b"\x1f\x8b"


def voxels_of(header: str) -> str | None:
    """The file that holds the voxels of a pair; None where there is none, or where the name is not that of a header."""
    return _beside(header, HEADERS, _VOXELS)


def header_of(voxels: str) -> str | None:
    """The header of a pair whose voxels are in this file; None where there is none, or where the name is not that of voxels."""
    found = _beside(voxels, _VOXELS, HEADERS)
    return found if found is not None and is_header(found) else None


def _beside(path: str, endings: tuple[str, ...], others: tuple[str, ...]) -> str | None:
    """The other file of a pair, in the same case and packed alike where there are several."""
    ending = next((each for each in reversed(endings) if path.lower().endswith(each)), None)
    if ending is None:
        return None
    stem, tail = path[: -len(ending)], path[-len(ending) :]
    alike = others if ending == endings[0] else others[::-1]
    named = [other.upper() if tail[1:2].isupper() else other for other in alike]
    return next((stem + each for each in (*named, *alike) if os.path.isfile(stem + each)), None)
