"""Private copy of the database, renewed when the file changes, so that readers and writers do not wait for each other.

DuckDB locks whole files: while somebody writes one nobody else can open it, and while somebody reads it nobody can write. So the
service opens the user's file only as bytes. A copy counts only if the file, and the write-ahead log beside it, were the same
before and after, had been left alone for a moment, and DuckDB can open the copy.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from embeddings.files.temporary import temporary_folder
from query.database.pictures import RunPictures
from query.database.store import LOGS, Store, StoreError, check_logs

SETTLED = 0.2  # seconds since the last change: a writer between two blocks is not mistaken for one that is done
LOOK = 1.0  # seconds between two looks at the file
_SUFFIXES = ("", *LOGS)
_SETTINGS = {"memory_limit": "1GB", "threads": "2", "max_temp_directory_size": "1GB"}
Seen = tuple[tuple[int, int, int] | None, ...]  # (inode, size, mtime_ns) of database and its logs


class BeingWritten(StoreError):
    """Somebody writes the database now; the next look may find it whole."""


@dataclass
class Snapshot:
    """One state of the database.

    Attributes:
        store: a copy, read-only; safe from several threads.
        run: number of the latest finished run.
        seen: what the file was.
        made: seconds since the epoch.
        ids: image_id of each row of the collection that is searched; None where the run did not compare it.
        folders: side -> the folder that its images are read from.
    """

    store: Store
    run: int
    seen: Seen
    made: float
    ids: Sequence[int] | None = None
    folders: Mapping[str, str] = field(default_factory=dict)
    _pictures: dict[int, RunPictures] = field(default_factory=dict)
    _users: int = 0
    _retired: bool = False

    def known_run(self, run: int | None) -> int:
        """The number of a run that is there, of the latest for None.

        Raises:
            StoreError: there is none.
        """
        return self.run if run is None else self.store.known_run(run)

    @property
    def missing_folders(self) -> list[str]:
        """Sides whose folder of images is not there now."""
        return [side for side, folder in self.folders.items() if not Path(folder).is_dir()]

    def pictures(self, run: int) -> RunPictures:
        """The pictures of a run."""
        if run not in self._pictures:
            self._pictures[run] = RunPictures(self.store, run)
        return self._pictures[run]


class Snapshots:
    """The newest state of a database file; a context manager that watches the file meanwhile.

    Args:
        path: the user's file. It need not be there yet, nor hold a run.
        changed: called with each new snapshot before anybody gets it.
    """

    def __init__(self, path: Path, changed: Callable[[Snapshot], None] = lambda snapshot: None) -> None:
        self._path, self._changed = path, changed
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._current: Snapshot | None = None
        self._number = 0
        self._useless: Seen | None = None  # a file that is no use as it is: it is not copied every second
        self._reason = "the database was not looked at yet"
        self._lost = False
        self._watcher = threading.Thread(target=self._watch, name="synthtrace-snapshots", daemon=True)

    def __enter__(self) -> "Snapshots":
        self._temporary = temporary_folder()
        self._folder = self._temporary.__enter__()
        self.look()
        if self._current is None:  # perhaps it was written a moment ago
            time.sleep(SETTLED)
            self.look()
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._watcher.join()
        with self._lock:
            snapshot, self._current = self._current, None
        if snapshot:
            self._retire(snapshot)
        self._temporary.__exit__(None, None, None)

    @property
    def reason(self) -> str:
        """Why there is no snapshot, or why it is not that of the newest file; empty when all is well."""
        return self._reason

    @property
    def stale(self) -> str:
        """Why the snapshot will not become that of the newest file by itself: the file is gone, or no use; empty while it may."""
        return f"{self._reason}; the last good copy is served" if self._lost else ""

    @property
    def age(self) -> float:
        """Seconds since the snapshot was made; 0 without one."""
        snapshot = self._current
        return time.time() - snapshot.made if snapshot else 0.0

    @contextmanager
    def current(self) -> Iterator[Snapshot | None]:
        """The newest snapshot, which stays whole as long as it is used; None where there is none yet."""
        with self._lock:
            snapshot = self._current
            if snapshot:
                snapshot._users += 1
        try:
            yield snapshot
        finally:
            if snapshot:
                with self._lock:
                    snapshot._users -= 1
                    last = snapshot._retired and not snapshot._users
                if last:
                    self._remove(snapshot)

    def look(self) -> None:
        """Make a new snapshot where the file is not what it was."""
        try:
            seen = self._seen()
            if seen == self._useless:
                return
            if self._current and seen == self._current.seen:
                self._reason, self._lost = "", False
                return
            made = self._copy(seen)
        except (OSError, StoreError) as error:
            self._reason = f"the database cannot be read: {error.strerror if isinstance(error, OSError) else error}"
            self._lost = not isinstance(error, BeingWritten)
            return
        with self._lock:
            before, self._current = self._current, made
        self._reason, self._lost = "", False
        if before:
            self._retire(before)

    def _watch(self) -> None:
        while not self._stop.wait(LOOK):
            self.look()

    def _files(self) -> list[Path]:
        path = self._path.resolve()  # DuckDB's logs lie beside the file, not beside a link to it
        return [path.with_name(f"{path.name}{suffix}") for suffix in _SUFFIXES]

    def _seen(self) -> Seen:
        """What the files are.

        Raises:
            StoreError: there is no database, somebody is writing it, or a log beside it is not its own.
        """
        found: list[tuple[int, int, int] | None] = []
        check_logs(str(self._path))
        for path in self._files():
            try:
                stat = path.stat()
            except FileNotFoundError:
                found.append(None)
                continue
            if abs(time.time() - stat.st_mtime) < SETTLED:
                raise BeingWritten("it is being written")
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        if found[0] is None:
            raise StoreError("there is no such file")
        return tuple(found)

    def _copy(self, seen: Seen) -> Snapshot:
        """A snapshot of the file as it was seen.

        Raises:
            StoreError: it changed meanwhile, is no database of ours, damaged, or holds no finished run.
        """
        self._number += 1
        copy = self._folder / f"{self._number}.duckdb"
        try:
            for path, there, suffix in zip(self._files(), seen, _SUFFIXES, strict=True):
                if there:
                    shutil.copyfile(path, f"{copy}{suffix}")
            if self._seen() != seen:
                raise BeingWritten("it is being written")
            self._useless = seen
            beside = self._path.resolve().parent  # its Parquet files stay there: they are never written again
            Store.open(copy, folder=beside).close()  # folds in the log, and brings the copy, not the user's file, up to date
            store = Store.open(copy, read_only=True, spill=True, settings=_SETTINGS, folder=beside)
            try:
                made = Snapshot(store, store.known_run(), seen, time.time())
                self._changed(made)
            except BaseException:
                store.close()
                raise
            self._useless = None
            return made
        except (OSError, StoreError) as error:
            _unlink(copy)
            kind = BeingWritten if isinstance(error, BeingWritten) else StoreError
            raise kind(str(error).replace(str(copy), self._path.name)) from error

    def _retire(self, snapshot: Snapshot) -> None:
        """Close and delete it as soon as nobody uses it."""
        with self._lock:
            snapshot._retired = True
            unused = not snapshot._users
        if unused:
            self._remove(snapshot)

    def _remove(self, snapshot: Snapshot) -> None:
        snapshot.store.close()
        _unlink(Path(snapshot.store.path))


def _unlink(copy: Path) -> None:
    for suffix in _SUFFIXES:
        Path(f"{copy}{suffix}").unlink(missing_ok=True)
