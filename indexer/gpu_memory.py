"""Working memory of FAISS on each GPU: one setting for the whole process, as the memory is."""

import re

MOST = 1536 << 20  # bytes; FAISS takes no more, whatever is asked for (StandardGpuResources.cpp, kMaxTempMem)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_limit: list[int] = []  # empty: FAISS's own choice


def parse(text: str) -> int:
    """Bytes of ``512M``, ``1G``, ``65536K`` or a plain number.

    Raises:
        ValueError: it is no size, or more than `MOST`.
    """
    found = re.fullmatch(r"(\d+)([KMG]?)", text.upper())
    size = int(found[1]) * _UNITS[found[2]] if found else -1
    if not 0 <= size <= MOST:
        raise ValueError(f"GPU memory must be a size up to 1536M, such as 512M, got {text!r}")
    return size


def limit(size: int | None) -> None:
    """Let FAISS keep so many bytes on each GPU, from its first use on; None for its own choice: 1,536 MiB or less."""
    _limit[:] = [] if size is None else [size]


def limited_to() -> int | None:
    """Bytes, None where nothing was set."""
    return _limit[0] if _limit else None
