"""Append-only file of lines that people may edit or replace meanwhile.

Editors save in two ways: they rename a new file over the old one, or they write into the old one. So the file that was opened
is compared with the file that has the name now, by inode, size and time. The lock is a file of its own, since a lock on the file
itself would stay with what no longer has the name.
"""

import errno
import fcntl
import os
import stat
from pathlib import Path

from embeddings.files.writing import full_disk_named
from indexer.files import Locked

Seen = tuple[int, int, int, int]  # device, inode, bytes, mtime in ns


class Journal:
    """The lines of one file, which no other service may use meanwhile. Not safe from several threads.

    Args:
        path: the file; it is made where it is missing, readable for the owner only. No link is followed.

    Raises:
        Locked: another service has it.
        OSError: the lock cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._seen: Seen | None = None
        self._whole = True  # whether the last line is ended
        self._lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise Locked(f"{path} is in use by another service; end that one, or copy the database") from error

    def close(self) -> None:
        """Let another service have the file."""
        self._let_go()
        os.close(self._lock)

    @property
    def gone(self) -> bool:
        """Whether nothing has the name of the file."""
        return not os.path.lexists(self.path)

    @property
    def changed(self) -> bool:
        """Whether the file is not as it was last read or written here.

        Raises:
            OSError: the system does not say.
        """
        try:
            return _seen(os.stat(self.path, follow_symlinks=False)) != self._seen
        except FileNotFoundError:
            return True

    def lines(self) -> list[bytes]:
        """All lines of the file that has the name now.

        Raises:
            OSError: it cannot be read, or is no regular file.
        """
        self._let_go()
        self._descriptor = _opened(self.path)
        with open(self._descriptor, "rb", closefd=False) as file:
            content = file.read()
        self._whole = not content or content.endswith(b"\n")
        self._note(len(content))
        return content.splitlines()

    def append(self, line: bytes) -> None:
        """Bring a line, without its end, to the disk. The file must have been read before.

        Raises:
            FullDisk: no space left; the file is as it was.
            OSError: it cannot be written.
        """
        before = self._seen
        rest = line + b"\n" if self._whole else b"\n" + line + b"\n"  # a kill or an editor left the last line without an end
        with full_disk_named(self.path.parent):
            end = os.lseek(self._descriptor, 0, os.SEEK_END)
            size = end + len(rest)
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
                os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, end)
                raise
        self._whole = True
        self._note(size if before and before[2] == end else -1)

    def forget(self) -> None:
        """Count the file as changed."""
        self._seen = None

    def _note(self, size: int) -> None:
        """Remember what the file is; where its size is not what it should be, somebody else wrote, and it is read again."""
        seen = _seen(os.fstat(self._descriptor))
        self._seen = seen if seen[2] == size else None

    def _let_go(self) -> None:
        self._seen = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _seen(found: os.stat_result) -> Seen:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _opened(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        os.fchmod(descriptor, 0o600)  # names of files may be names of patients; an editor may have made it anew
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
