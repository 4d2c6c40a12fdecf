"""Rows of generated images in Parquet files beside a database: written aside, put in place as a whole, read by views.

RESULTS.tables/run_id=1/DIGEST/neighbours/000000.parquet   rows in the order in which they were added; DIGEST is of all files
RESULTS.tables/run_id=1/DIGEST/.unfinished                 until the run is in the database; locked as long as its writer lives

A folder of a run is never written again, so databases that lie beside each other cannot spoil each other's. What a killed writer
left is deleted when the next run is written.
"""

import fcntl
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import create, make_folder, sync_folder
from indexer.files import sha256_of

ABOVE = 10_000_000  # generated images: of runs with more, their rows go to Parquet files
IDS = {  # tables with rows of generated images -> column that says whose a row is; ids of generated images come first
    "images": "image_id",
    "codes": "image_id",
    "neighbours": "query_id",
    "scores": "image_id",
    "release_decisions": "image_id",
}
FILE_ROWS = 10_000_000
_GROUP_ROWS = 122_880  # of a row group, as DuckDB's own: what one thread reads
_SUFFIX, _MARK = ".tables", ".unfinished"
_PATH = re.compile(rf"\w[\w.-]*{re.escape(_SUFFIX)}/run_id=\d+/[0-9a-f]{{16}}/({'|'.join(IDS)})/\d{{6}}\.parquet")
_SORTED = "DELTA_BINARY_PACKED"  # for ids, which rise
_TEXTS = ("role", "query_role", "view", "score", "mode", "decision", "reason", "rank")  # few values


@dataclass(frozen=True)
class ParquetFile:
    """A file as table `parquet_files` knows it.

    Raises:
        ValueError: the path is none that a run is written to.
    """

    run_id: int
    table_name: str
    path: str
    row_count: int
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path):
            raise ValueError(f"{self.path!r} is no path of a run's rows")

    def is_there(self, folder: Path) -> bool:
        """Whether the folder of the database has it, with its size and behind no link but that of its first folder."""
        place = self.place(folder)
        with suppress(OSError):
            status = os.lstat(place)
            return place == Path(os.path.realpath(place)) and stat.S_ISREG(status.st_mode) and status.st_size == self.bytes
        return False

    def place(self, folder: Path) -> Path:
        """Its path; a link to all files, on another disk perhaps, is followed."""
        first, _, rest = self.path.partition("/")
        return Path(os.path.realpath(folder / first), rest)


def folder_name(database: str) -> str:
    """Of the folder of Parquet files: the database's, without characters that would mean something in a pattern."""
    return re.sub(r"^\W|[^\w.-]", "_", Path(database).stem) + _SUFFIX


class ParquetRun:
    """The files of a run that is being written.

    Args:
        folder: of the database.
        name: of the folder of Parquet files in it.
        run_id: of the run.
        images: its generated images; rows of smaller ids are theirs.
        recorded: paths of files that the database knows: they stay.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, name: str, run_id: int, images: int, recorded: Collection[str]) -> None:
        self.images, self._run = images, run_id
        self.last: dict[str, int] = {}  # view -> the last image whose neighbours were added
        self._root = folder / name
        self._tables: dict[str, _Rows] = {}
        self._placed: Path | None = None
        make_folder(self._root)
        _clear(self._root, recorded)
        with ExitStack() as stack:
            self._aside = stack.enter_context(temporary_folder(self._root)) / "rows"
            make_folder(self._aside)
            self._stack = stack.pop_all()

    def add(self, table: str, rows: pa.Table) -> None:
        """Appends rows, all columns but run_id.

        Raises:
            OSError: they cannot be written.
        """
        if table not in self._tables:
            make_folder(self._aside / table)
            self._tables[table] = _Rows(self._aside / table)
        self._tables[table].add(rows)

    def put_in_place(self) -> list[ParquetFile]:
        """Closes all files and moves them to where they stay; until `keep` they are marked as unfinished.

        Raises:
            OSError: they cannot be written or moved.
        """
        found = [(name, path, count) for name, rows in self._tables.items() for path, count in rows.finished()]
        sums = [sha256_of(path) for _, path, _ in found]
        listed = "".join(f"{name}/{path.name} {digest}\n" for (name, path, _), digest in zip(found, sums, strict=True))
        place = self._root / f"run_id={self._run}" / hashlib.sha256(listed.encode()).hexdigest()[:16]
        inside = f"{self._root.name}/{place.parent.name}/{place.name}"
        files = [
            ParquetFile(self._run, name, f"{inside}/{name}/{path.name}", count, path.stat().st_size, digest)
            for (name, path, count), digest in zip(found, sums, strict=True)
        ]
        if not all(file.is_there(self._root.parent) for file in files):
            self._move(place)
        return files

    def keep(self) -> None:
        """The run is in the database: its files are no longer unfinished."""
        if self._placed:
            (self._placed / _MARK).unlink()
            self._placed = None
        self.drop()

    def drop(self) -> None:
        """Deletes what was written, unless it is kept."""
        for rows in self._tables.values():
            rows.close()
        if self._placed:
            shutil.rmtree(self._placed, ignore_errors=True)
            self._placed = None
        self._stack.close()
        _remove_empty(self._root / f"run_id={self._run}", self._root)

    def _move(self, place: Path) -> None:
        mark = self._stack.enter_context(create(self._aside / _MARK))
        _lock(mark)
        make_folder(place.parent)
        if place.exists():  # files of this name that are damaged
            place.rename(self._aside.with_name("damaged"))
        sync_folder(self._aside)
        self._aside.rename(place)
        self._placed = place
        sync_folder(place.parent)


@dataclass
class _Rows:
    """Files of a table, one after the other.

    Attributes:
        folder: that they are written to.
        counts: rows of each file.
    """

    folder: Path
    counts: list[int] = field(default_factory=list)
    _file: BinaryIO | None = None
    _writer: pq.ParquetWriter | None = None

    def add(self, rows: pa.Table) -> None:
        if not len(rows):
            return
        if self._writer is None:
            self._file = create(self._path(len(self.counts)))
            self._writer = _writer(self._file, rows.schema)
            self.counts.append(0)
        self._writer.write_table(rows, row_group_size=_GROUP_ROWS)
        self.counts[-1] += len(rows)
        if self.counts[-1] >= FILE_ROWS:
            self._end()

    def finished(self) -> Iterator[tuple[Path, int]]:
        """Path and rows of each file, all written."""
        self._end()
        sync_folder(self.folder)
        for number, count in enumerate(self.counts):
            yield self._path(number), count

    def close(self) -> None:
        """Let go of a file that is not finished."""
        if self._file:
            with suppress(OSError, pa.ArrowException):
                self._end()

    def _end(self) -> None:
        file, writer, self._file, self._writer = self._file, self._writer, None, None
        if file and writer:
            with file:
                writer.close()
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o400)  # never written again, by whatever SQL

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.parquet"


def _writer(file: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    few = [name for name in schema.names if name in _TEXTS]
    ids = {name: _SORTED for name in schema.names if name.endswith("_id")}
    return pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=few, column_encoding=ids, store_schema=False)


def _clear(root: Path, recorded: Collection[str]) -> None:
    """Delete folders of runs whose writers were killed before their database knew of them; a database that did keeps its own."""
    known = {Path(path).parts[1:3] for path in recorded}
    for mark in list(root.glob(f"run_id=*/*/{_MARK}")):
        with suppress(OSError), open(mark, "rb") as file:
            _lock(file)  # fails where its writer lives
            if mark.parent.parts[-2:] in known:
                mark.unlink()
            else:
                shutil.rmtree(mark.parent)


def _lock(file: BinaryIO) -> None:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def replace_database(new: Path, old: Path) -> None:
    """Put a database with its Parquet files in place of another one of the same name; the files of that one are deleted.

    Args:
        new: a closed database, in a folder of its own on the same disk.
        old: where it goes; it need not be there.

    Raises:
        OSError: something cannot be moved. The old database is as it was then.
    """
    source, target = (path.parent / folder_name(path.name) for path in (new, old))
    arriving = [place.relative_to(source) for place in source.glob("run_id=*/*")]
    for name in arriving:
        make_folder((target / name).parent)
        if _sizes(target / name) != _sizes(source / name):
            shutil.rmtree(target / name, ignore_errors=True)  # of the same digest: damaged
            (source / name).rename(target / name)
    os.replace(new, old)
    for place in target.glob("run_id=*/*"):
        if place.relative_to(target) not in arriving:
            shutil.rmtree(place, ignore_errors=True)
    _remove_empty(*target.glob("run_id=*"), target)


def _sizes(folder: Path) -> dict[Path, int]:
    return {path.relative_to(folder): path.lstat().st_size for path in folder.rglob("*")}


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
