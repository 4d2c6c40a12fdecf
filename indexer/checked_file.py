"""Open a file of a collection, verify its checksum, and detect changes for as long as it is used."""

import hashlib
import mmap
import os
import weakref
from pathlib import Path

from indexer.files import BLOCK
from indexer.manifest import CollectionError

# Files up to this size are held in memory: what happens to them on disk changes no answer. Larger ones are mapped and watched.
IN_MEMORY = 64 << 20


class CheckedFile:
    """The bytes of a file that gave the right checksum; the same bytes are used afterwards.

    A file that is replaced by renaming, as synthtrace does it, stays as it was for those who opened it before. A file that is
    written in place is noticed by its size and times. Two things are not noticed: a write through a map that another process made
    and wrote to before, since the system notes no time for it, and a write within one tick of the file system's clock (some
    milliseconds) after another one. A mapped file that is cut short between a look and the use ends the process.

    Args:
        path: of the file.
        sha256: hex, of the bytes that were written; None where the manifest does not know the file.

    Raises:
        CollectionError: it cannot be read, or its bytes are others.
    """

    def __init__(self, path: Path, sha256: str | None) -> None:
        self._sha256 = sha256
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # kept: the path may lead to other bytes later
            weakref.finalize(self, os.close, self._file)
            self._seen = self._look()
            size = self._seen[0]
            self.mapped = size > IN_MEMORY
            if self.mapped:
                content = mmap.mmap(self._file, size, prot=mmap.PROT_READ)
            else:  # memory that starts at a page too, so that vectors are aligned
                content = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                for start in range(0, size, BLOCK):
                    block = os.pread(self._file, min(BLOCK, size - start), start)
                    content[start : start + len(block)] = block
            self._map = content
            self.content = memoryview(content)[:size].toreadonly()
            if self._digest() != sha256 or self._look() != self._seen:
                raise CollectionError(f"{path}: its bytes have changed since it was written; build the collection again")
        except OSError as error:
            raise CollectionError(f"{path}: {error.strerror or error}; build the collection again") from error

    def unchanged(self) -> bool:
        """Whether the bytes are still those that gave the checksum. Costs one system call, and none where they are in memory."""
        if not self.mapped:
            return True
        now = self._look()
        if now == self._seen:
            return True
        # The last time alone moves with owner, mode and links too, and whoever writes may have put back the one before it.
        if now[:2] != self._seen[:2] or self._digest() != self._sha256 or self._look() != now:
            return False
        self._seen = now
        return True

    def release(self) -> None:
        """Give the memory of mapped pages back to the system; whoever reads them again reads the file."""
        if self.mapped and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def _look(self) -> tuple[int, int, int]:
        stat = os.fstat(self._file)
        return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns

    def _digest(self) -> str:
        """SHA-256 (hex). A mapped file is read for it: its map would end the process where it was cut short."""
        if not self.mapped:
            return hashlib.sha256(self.content).hexdigest()
        digest, place = hashlib.sha256(), 0
        while block := os.pread(self._file, BLOCK, place):
            digest.update(block)
            place += len(block)
        return digest.hexdigest()
