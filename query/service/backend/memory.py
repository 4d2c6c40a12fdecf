"""Give memory that was freed back to the system: glibc keeps it, for each thread by itself, and a service lives for months."""

import ctypes
import threading
from collections.abc import Callable

REST = 5.0  # seconds from a use of memory until what is free is given back, which takes some milliseconds
_ARENAS = 2  # heaps that all threads share; by default eight for each core, each of which keeps what it once took
_M_ARENA_MAX = -8  # malloc.h


class Memory:
    """Gives memory back that was used; a context manager that starts and stops its thread.

    Args:
        give_back: does it.
    """

    def __init__(self, give_back: Callable[[], None] | None = None) -> None:
        self._give_back = give_back or trim
        self._used, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="synthtrace-memory", daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._used.set()
        self._thread.join()

    def used(self) -> None:
        """Say that memory was used and freed."""
        self._used.set()

    def _watch(self) -> None:
        while self._used.wait() and not self._end.wait(REST):
            self._used.clear()
            self._give_back()


def share_heaps() -> None:
    """Let all threads that will be started share a few heaps (glibc; elsewhere nothing is done)."""
    if libc := _glibc():
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


def trim() -> None:
    """Give back every page that is free in any heap (glibc; elsewhere nothing is done)."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
