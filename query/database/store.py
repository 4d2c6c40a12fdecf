"""The database: schema, bulk writes, SQL and named analyses of one DuckDB file. The only file that imports duckdb.

A run is one transaction, from `Store.begin_run` to `Store.finish_run`: whatever ends the process in between, nothing of the
run is left. The schema is `sql/migrations`, the named analyses are `sql/analyses`. Whatever SQL comes in from outside is walked
first (`query.database.statements`): it reads the database and nothing else, also in a store that writes.
"""

import errno
import json
import os
import re
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import ArrayLike, NDArray

from embeddings.errors import SynthtraceError
from embeddings.files.spreadsheet import write_arrow
from embeddings.files.writing import write_atomic
from query.database.large_tables import FOLDER, FUNCTIONS, LargeTables
from query.database.parquet import ABOVE, IDS, ParquetFile, ParquetRun, folder_name
from query.database.statements import Known, refusal
from query.text import many, plain, visible_json

MEMORY = ":memory:"
FORMAT = "v1.0.0"  # of files: DuckDB 1.1 and later read it; by default 2.0 writes one that no earlier version reads
SQL = Path(__file__).parent / "sql"
Value = int | float | str
Columns: TypeAlias = pa.Table | Mapping[str, ArrayLike]  # of equal length, by name
Rows: TypeAlias = tuple[str, Columns]  # table, and what is added to it

_SETTINGS = {  # SQL never sees Python variables nor files, and nothing is fetched from the network
    "storage_compatibility_version": FORMAT,
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")  # beside a database: what DuckDB has yet to write into it
_BATCH = 1024  # rows fetched at a time where only the first are wanted
_CHECKED = 1000  # texts of queries remembered as checked
_NO_SPACE = "no space is left on the disk; make room and do it again"
_NOT_ONE = "one SELECT is wanted (or FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE), and nothing else"
_opening = threading.Lock()


class _OwnerOnly:
    """While one is entered, what DuckDB creates (database, write-ahead log, spilled blocks) is readable for its owner only.

    The mask belongs to the process, so entries are counted; other threads' files are at worst more private for a moment.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = 0
        self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._entered:
                self._before = os.umask(0o077)
            self._entered += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._entered -= 1
            if not self._entered:
                os.umask(self._before)


_owner_only = _OwnerOnly()


class StoreError(SynthtraceError):
    """A database, a query or an export cannot be used as asked; the message is one line that says what and how to mend it."""


class TookTooLong(StoreError):
    """A query was interrupted at its limit."""


class Kept(StrEnum):
    """Which distances a run keeps besides the k nearest; histograms over all pairs are kept always."""

    ALL = "all"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Run:
    """One query of real images against generated ones; `distances` says whether table distances will hold every pair.

    Raises:
        ValueError: k is not positive, or distances is neither ``all`` nor ``histogram``.
    """

    command: str
    k: int
    mirror: bool
    real_source: str
    generated_source: str
    real_images: int
    generated_images: int
    real_failed: int = 0
    generated_failed: int = 0
    distances: Kept = Kept.ALL
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.k <= 0:
            raise ValueError(f"k must be positive, got {self.k}")
        Kept(self.distances)


@dataclass(frozen=True)
class RunView:
    """What a view was in a run; `note` tells people what they must know, e.g. that a network had no trained weights."""

    view: str
    dim: int
    metric: str
    fingerprint: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Analysis:
    """A named query: the question it answers, and its parameters with their defaults (None for run and search: the latest)."""

    name: str
    question: str
    sql: str
    parameters: Mapping[str, Value | None]

    def values(self, arguments: Mapping[str, Any]) -> dict[str, Value | None]:
        """A value for every parameter, of the type of its default.

        Raises:
            StoreError: a parameter is unknown, not of its type, or a whole number below 1.
        """
        unknown = sorted(arguments.keys() - self.parameters.keys())
        if unknown:
            known = ", ".join(self.parameters) or "none"
            raise StoreError(f"{self.name} has no parameter {unknown[0]!r}; it has {known}")
        return {
            name: self._typed(name, arguments[name]) if name in arguments else default
            for name, default in self.parameters.items()
        }

    def _typed(self, name: str, value: Any) -> Value:
        kind = type(self.parameters[name] or 1)
        try:
            typed: Value = int(str(value)) if kind is int else kind(value)
        except (TypeError, ValueError):
            expected = {int: "a whole number", float: "a number"}[kind]
            raise StoreError(f"{self.name}: {name} must be {expected}, got {value!r}") from None
        if kind is int and int(typed) < 1:
            raise StoreError(f"{self.name}: {name} must be at least 1, got {value!r}")
        return typed


class Store:
    """One DuckDB file of runs; a context manager. `open` makes it.

    A read-only store may be used by several threads; one that writes belongs to one thread, and its file to one process.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: str, read_only: bool, folder: Path) -> None:
        self.path = path
        self.read_only = read_only
        self.folder = folder  # that Parquet files lie in a folder of
        self.parquet_files: Sequence[ParquetFile] = ()
        self._parquet_above = ABOVE
        self._connection = connection
        self._large = LargeTables(self._execute)
        self._is_new = False  # the file was not there before
        self._run: int | None = None  # the run between begin_run and finish_run
        self._searching = False  # within add_search, outside a run
        self._parquet: ParquetRun | None = None  # its Parquet files, where it is that large
        self._checked: set[str] = set()  # queries that only read

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        read_only: bool = False,
        spill: bool = False,
        settings: Mapping[str, str] | None = None,
        folder: Path | None = None,
        parquet_above: int = ABOVE,
    ) -> "Store":
        """Opens the file; for writing it is made where missing, closed to all but its owner, and migrated where old.

        Args:
            path: of the file.
            read_only: nothing can be changed.
            spill: what does not fit into memory may go into files beside a database that is only read. Otherwise DuckDB opens no
                file once such a database is open, but Parquet files of the database.
            settings: DuckDB's, e.g. ``memory_limit``.
            folder: that the database's folder of Parquet files lies in; default that of the database.
            parquet_above: rows of generated images of runs with more of them go to Parquet files, see `query.database.parquet`.

        Raises:
            StoreError: the file is missing, no synthtrace database, newer than this program or in use by another process, a
                log beside it is not its own, or a Parquet file of it is missing or another one.
        """
        name = str(path)
        _check_file(name, read_only)
        check_logs(name)
        is_new = not read_only and name != MEMORY and not os.path.lexists(name)
        if not read_only:
            _keep_private(name)
        sealed = read_only and not spill
        config: dict[str, Any] = {**(settings or {}), **_SETTINGS, **({"temp_directory": ""} if sealed else {})}
        place = (folder or Path(name).resolve().parent).absolute()
        with _owner_only, _one_line(name):
            store = cls(duckdb.connect(name, read_only=read_only, config=config), name, read_only, place)
        store._is_new, store._parquet_above = is_new, parquet_above
        try:
            store._lock(sealed)
            store._bring_up_to_date()
        except BaseException:
            store.close()
            store._remove_made()
            raise
        return store

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        empty = error is not None and self._is_new and self._holds_nothing()
        self.close()
        if empty:
            self._remove_made()

    def close(self) -> None:
        """Closes the file; a run that was not finished leaves nothing."""
        if self._parquet:
            self._drop_run()
        with _owner_only, _one_line(self.path):
            self._connection.close()

    def begin_run(self, run: Run, views: Sequence[RunView]) -> int:
        """Begins a run and returns its number; a run begun before and not finished is dropped."""
        self._drop_run()
        self._execute("BEGIN")
        try:
            ((number,),) = self._execute("SELECT coalesce(max(run_id), 0) + 1 FROM runs")
            created = datetime.now(UTC).replace(tzinfo=None)
            self._insert("runs", {"run_id": number, "created": created, **_fields(run), "finished": False})
            for view in views:
                self._insert("run_views", {"run_id": number, **_fields(view)})
            if run.generated_images > self._parquet_above and self.path != MEMORY:
                self._begin_parquet(int(number), run.generated_images)
        except BaseException:
            self._execute("ROLLBACK")
            raise
        self._run = int(number)
        return self._run

    def add(self, table: str, data: Columns) -> None:
        """Appends rows in bulk, columns matched by name; an Arrow table is the fastest.

        Args:
            table: one that holds a run's data, e.g. ``neighbours``.
            data: columns of equal length; (n, m) arrays become lists, NaN in an array becomes NULL. Between begin_run
                and finish_run run_id may be left out. Columns that may be NULL or have a default may be left out.

        Raises:
            ValueError: the table or a column is unknown, a column or the run is missing, or lengths differ.
            StoreError: DuckDB refuses the rows (a constraint, a full disk); an open run is dropped.
        """
        rows = _table(data)
        if "run_id" not in rows.column_names and self._run is not None:
            rows = rows.append_column("run_id", pa.repeat(pa.scalar(self._run, pa.int32()), len(rows)))
        self._check_columns(table, rows.column_names)
        if self._parquet and table in IDS:
            rows = self._add_parquet(self._parquet, table, rows)
        self._append(table, rows)

    def _append(self, table: str, rows: pa.Table) -> None:
        """Appends rows whose columns are checked; raises as `add`."""
        columns = ", ".join(f'"{name}"' for name in rows.column_names)
        with _one_line(self.path, table):
            self._connection.register("added_rows", rows)
        try:
            of_run = "run_id" in rows.column_names
            query = "SELECT DISTINCT run_id FROM added_rows WHERE run_id IS NOT NULL AND run_id NOT IN (SELECT run_id FROM runs)"
            missing = self._execute(query) if of_run else []
            if missing:
                raise ValueError(f"{table}: there is no run {missing[0][0]}")
            self._execute(f'INSERT INTO "{self._large.stored(table)}" ({columns}) SELECT {columns} FROM added_rows')
        except StoreError:
            self._drop_run()  # DuckDB has aborted its transaction, and refuses even to unregister until it is rolled back
            raise
        finally:
            self._connection.unregister("added_rows")

    def add_search(self, tables: Iterable[Rows]) -> int:
        """Writes what a search for duplicates found, whole or not at all, and returns its number. Of an open run it is a part.

        Args:
            tables: tables of a search and rows as `add` takes them, without search_id; `duplicate_searches` without created too.

        Raises:
            ValueError: a table or a column is unknown, or a column is missing; nothing is kept of the search and of an open run.
            StoreError: DuckDB refuses; the same.
        """
        run = self._run
        if run is None:
            self._execute("BEGIN")
            self._searching = True
        try:
            ((number,),) = self._execute("SELECT coalesce(max(search_id), 0) + 1 FROM duplicate_searches")
            known: dict[str, Any] = {"search_id": pa.scalar(number, pa.int32())}
            created = {"created": pa.scalar(datetime.now(UTC).replace(tzinfo=None)), "run_id": pa.scalar(run, pa.int32())}
            for table, data in tables:
                rows = _table(data)
                for name, value in (known | (created if table == "duplicate_searches" else {})).items():
                    rows = rows.append_column(name, pa.repeat(value, len(rows)))
                self._check_columns(table, rows.column_names)
                self._append(table, rows)
            if run is None:
                self._execute("COMMIT")
                self._searching = False
        except BaseException:
            self._drop_run()
            raise
        return int(number)

    def replace(self, run_id: int, tables: Mapping[str, Columns]) -> None:
        """Puts these rows in place of all that a finished run has in these tables: in all of them, or in none.

        Args:
            run_id: of the run; it need not be in the rows.
            tables: table -> columns as `add` takes them.

        Raises:
            ValueError: as `add` raises it; nothing is changed.
            StoreError: DuckDB refuses; nothing is changed.
        """
        self._drop_run()
        self._execute("BEGIN")
        self._run = run_id
        try:
            for table, data in tables.items():
                self._columns(table)
                if (run_id, table) in {(file.run_id, file.table_name) for file in self.parquet_files}:
                    raise ValueError(f"{table}: rows of run {run_id} are in Parquet files, which are not written again")
                self._execute(f'DELETE FROM "{self._large.stored(table)}" WHERE run_id = $run', {"run": run_id})
                self.add(table, data)
            self._execute("COMMIT")
            self._run = None
        finally:
            self._drop_run()

    def finish_run(self, run_id: int) -> None:
        """Checks the run and commits it; from here on it survives anything.

        Raises:
            ValueError: the run is not the one that was begun.
            StoreError: an id or a name occurs twice, or a row names an image that is not there; the run is dropped.
        """
        if run_id != self._run:
            raise ValueError(f"run {run_id} is not open, expected {self._run}")
        try:
            files = self._finish_parquet(self._parquet) if self._parquet else []
            for what, query in _CHECKS.items():
                if self._parquet and what == _TWICE:  # rows in files were held against those before them
                    query = query.replace("FROM neighbours", f"FROM {self._large.stored('neighbours')}")
                ((wrong,),) = self._execute(query, {"run": run_id})
                if wrong:
                    raise StoreError(f"{self.path}: run {run_id} is not kept: {wrong} {what}")
            self._execute("UPDATE runs SET finished = true WHERE run_id = $run", {"run": run_id})
            self._execute("COMMIT")
            self._run = None
            if self._parquet:
                self._parquet.keep()
                self._parquet, self.parquet_files = None, [*self.parquet_files, *files]
        finally:
            self._drop_run()

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> pa.Table:
        """The result of one statement that reads this database and nothing else, with ``?`` or ``$name`` parameters.

        An error while a query runs between begin_run and finish_run drops the run: that is how DuckDB's transactions work.

        Raises:
            StoreError: the query is wrong, or may do more than read.
        """
        with self._used() as connection:
            self._check(query)
            return connection.sql(query, params=parameters).to_arrow_table()

    def select(
        self, query: str, parameters: Mapping[str, Any] | None = None, *, rows: int, seconds: float
    ) -> tuple[pa.Table, bool]:
        """The first rows of a query from somebody who may ask too much, and whether there were more.

        Args:
            query: as `sql` takes it; ``$name`` stands for a parameter.
            parameters: their values.
            rows: kept at most.
            seconds: after so long it is interrupted.

        Raises:
            TookTooLong: it was.
            StoreError: the query is wrong, or may do more than read.
        """
        with self._used() as connection:
            self._check(query)
            clock = threading.Timer(seconds, connection.interrupt)
            clock.start()
            try:
                return _first_rows(connection.sql(query, params=parameters).to_arrow_reader(_BATCH), rows)
            except (duckdb.InterruptException, OSError, pa.ArrowException) as error:  # Arrow passes DuckDB's on
                if "Interrupted" in str(error):
                    raise TookTooLong(f"interrupted after {seconds:g} seconds; ask for less") from error
                raise StoreError(_reason(str(error), self.path)) from error
            finally:
                clock.cancel()

    def relation(self, query: str) -> duckdb.DuckDBPyRelation:
        """The query, as `sql` takes it, as a DuckDB relation, for notebooks; it is valid while the store is open.

        Raises:
            StoreError: the query is wrong, or may do more than read.
        """
        with _one_line(self.path):
            self._check(query)
            return self._connection.sql(query)

    def tables(self) -> list[str]:
        """The tables of this database by name, those that are views of Parquet files among them."""
        return self._large.tables()

    def relocate(self, role: str, before: str, after: str) -> None:
        """Write another folder of the real or the generated images into every run that has the one before."""
        column = {"real": "real_source", "generated": "generated_source"}[role]
        self._execute(f"UPDATE runs SET {column} = $after WHERE {column} = $before", {"after": after, "before": before})

    def calibrate(self, run_id: int) -> None:
        """Gives every score of a run its p-value against images known not to be used, as `sql/calibrate.sql` says."""
        query = (SQL / "calibrate.sql").read_text(encoding="utf-8")  # of real images alone, whose rows are in no Parquet file
        self._execute(query.replace("UPDATE scores", f"UPDATE {self._large.stored('scores')}"), {"run": run_id})

    @staticmethod
    def analyses() -> dict[str, Analysis]:
        """The named analyses by name, as `sql/analyses` holds them."""
        return {path.stem: _read_analysis(path) for path in sorted((SQL / "analyses").glob("*.sql"))}

    def known_run(self, run: Value | None = None) -> int:
        """The number of a run that is there, of the latest finished one for None.

        Raises:
            StoreError: there is no such run; the message names those that are there.
        """
        query = "SELECT run_id FROM runs WHERE finished OR run_id = $run ORDER BY 1"  # by number also the one being written
        runs = [number for (number,) in self._execute(query, {"run": run})]
        if not runs:
            raise StoreError(f"{self.path} holds no run yet")
        if run is None:
            return int(runs[-1])
        if run not in runs:
            raise StoreError(f"{self.path} holds no run {run}; it holds {', '.join(map(str, runs))}")
        return int(run)

    def _known_search(self, search: Value | None) -> int:
        """The number of a search for duplicates that is there, of the latest one for None; raises StoreError."""
        searches = [number for (number,) in self._execute("SELECT search_id FROM duplicate_searches ORDER BY 1")]
        if not searches:
            raise StoreError(f"{self.path} holds no search for duplicates; `synthtrace duplicates --db` adds one")
        if search is not None and search not in searches:
            raise StoreError(f"{self.path} holds no search {search}; it holds {', '.join(map(str, searches))}")
        return int(searches[-1] if search is None else search)

    def analyse(self, name: str, **parameters: Any) -> pa.Table:
        """The result of a named analysis, of the latest finished run, or the latest search, unless one is given.

        Raises:
            StoreError: the name, a parameter, the run, the search or the view is unknown; the message names those that are known.
        """
        sql, values = self.prepared(name, parameters)
        return self.sql(sql, values)

    def prepared(self, name: str, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Value | None]]:
        """The SQL of a named analysis and a value for each of its parameters.

        Raises:
            StoreError: as of `analyse`.
        """
        analyses = self.analyses()
        if name not in analyses:
            raise StoreError(f"there is no analysis {name!r}; there are {', '.join(analyses)}")
        analysis = analyses[name]
        values = analysis.values(parameters)
        if "run" in values:
            values["run"] = self.known_run(values["run"])
        if "search" in values:
            values["search"] = self._known_search(values["search"])
        if "view" in values:
            self._check_view(values["run"], values["view"])
        return analysis.sql, values

    def export(self, query: str, path: Path | str) -> int:
        """Writes the result of a query as `write_table` does; the number of rows."""
        return write_table(self.sql(query), path)

    @contextmanager
    def _used(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection, its errors in one line; read-only a new one, since a connection serves one thread at a time."""
        with _owner_only, _one_line(self.path):
            if self.read_only:
                with closing(self._connection.cursor()) as connection:
                    self._say_folder(connection)
                    yield connection
            else:
                yield self._connection

    def _execute(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of the last statement; every one is fetched, since DuckDB 2 keeps a connection busy until then."""
        with self._used() as connection:
            return connection.execute(query, parameters or []).fetchall()

    def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        self._execute(f'INSERT INTO "{table}" ({", ".join(row)}) VALUES ({", ".join(f"${name}" for name in row)})', row)

    def _drop_run(self) -> None:
        if self._parquet:
            self._parquet.drop()
            self._parquet = None
        if self._run is not None or self._searching:
            self._run, self._searching = None, False
            with suppress(StoreError):  # after a full disk DuckDB has dropped it already, and has nothing to roll back
                self._execute("ROLLBACK")

    def _lock(self, sealed: bool) -> None:
        """From here on nobody changes a setting, and DuckDB takes no file but the database, its logs, its folder for spilling and
        Parquet files: those that are known, in a database that is written also those to come. Sealed: only known Parquet files.
        """
        with _opening:  # another store of this process may share DuckDB's instance, and with it the settings
            ((locked,),) = self._execute("SELECT current_setting('lock_configuration')")
            self._find_parquet_files()
            if not locked:  # the file has its format by now; what is left of the setting is how statements are serialised
                self._execute("RESET storage_compatibility_version")
                known = [str(file.place(self.folder)) for file in self.parquet_files]
                self._execute("SET allowed_paths = $files", {"files": known})
                if not self.read_only and self.path != MEMORY:
                    self._execute("SET allowed_directories = $folders", {"folders": [str(self._parquet_folder.resolve())]})
                self._execute("SET enable_external_access = false")
            if sealed and not locked and not self.parquet_files:
                self._execute("SET disabled_filesystems = 'LocalFileSystem'")
            if not locked:
                self._execute("SET lock_configuration = true")
        self._say_folder(self._connection)

    @property
    def _parquet_folder(self) -> Path:
        return self.folder / folder_name(self.path)

    def _say_folder(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Tell the views of Parquet files where these lie: each connection has variables of its own."""
        if self.parquet_files or not self.read_only:
            connection.execute(f"SET VARIABLE {FOLDER} = $folder", {"folder": str(self.folder)})

    def _find_parquet_files(self) -> None:
        """Learn of the database's Parquet files, and see that they are there.

        Raises:
            StoreError: one is not, or is another one than was written.
        """
        try:
            self.parquet_files = self._large.files()
        except ValueError as error:
            raise StoreError(f"{self.path}: table parquet_files was not written by synthtrace: {error}") from None
        wrong = [file for file in self.parquet_files if not file.is_there(self.folder)]
        if wrong:
            named = f"{many(len(wrong), 'Parquet file')} of it, such as {self.folder / wrong[0].path},"
            raise StoreError(f"{self.path}: {named} missing or not as written; put the folder back beside it as it was")

    def _begin_parquet(self, run: int, images: int) -> None:
        """Open Parquet files for a run."""
        self._large.become_views(self.parquet_files)
        with _files_written(self.path, self._parquet_folder):
            recorded = [file.path for file in self.parquet_files]
            self._parquet = ParquetRun(self.folder, self._parquet_folder.name, run, images, recorded)

    def _add_parquet(self, run: ParquetRun, table: str, rows: pa.Table) -> pa.Table:
        """Write those of the rows that are of generated images; the others.

        Raises:
            StoreError: a row is against the schema, or cannot be written; the run is dropped.
        """
        import pyarrow.compute as pc  # takes longer to load than a look-up

        of_generated = pc.fill_null(pc.less(rows[IDS[table]], run.images), True)  # a row of nobody is against the schema
        query, rules = self._large.as_stored(table, rows.column_names, "added_rows"), self._large.rules(table)
        try:
            with _one_line(self.path, table), closing(self._connection.cursor()) as own:
                # the connection of the run would hold all rows that were registered in memory until the run ends
                own.register("added_rows", rows.filter(of_generated))
                for rule in rules:
                    if own.execute(f"SELECT 1 FROM ({query}) WHERE NOT ({rule}) LIMIT 1").fetchall():
                        raise StoreError(f"{self.path}: {table}: Constraint Error: a row is against {rule}")
                if table == "neighbours":
                    self._check_order(run, own.execute(_RANGES.format(query)).fetchall())
                made = own.sql(query).to_arrow_table()
            with _files_written(self.path, self._parquet_folder):
                run.add(table, made)
        except StoreError:
            self._drop_run()
            raise
        return rows.filter(pc.invert(of_generated))

    def _check_order(self, run: ParquetRun, ranges: list[tuple[Any, ...]]) -> None:
        """See that neighbours come image by image in each view, so that none comes twice: to look at all at the end takes memory.

        Raises:
            StoreError: they do not.
        """
        for view, first, last, twice in ranges:
            if twice or first <= run.last.get(view, -1):
                raise StoreError(f"{self.path}: {_TWICE}, or do not come in the order of images")
            run.last[view] = last

    def _finish_parquet(self, run: ParquetRun) -> list[ParquetFile]:
        """Put the files in place, enter them, and let the views read them; which they are."""
        with _files_written(self.path, self._parquet_folder):
            files = run.put_in_place()
        for file in files:
            self._insert("parquet_files", asdict(file))
        self._large.write_views([*self.parquet_files, *files])
        return files

    def _check(self, query: str) -> None:
        """That a text is one statement which reads this database and nothing else.

        Raises:
            StoreError: it is not.
            duckdb.Error: it is no SQL.
        """
        if query in self._checked:
            return
        if "\0" in query:
            raise StoreError("the query holds a NUL character")
        query.encode()  # raises where it holds half a character
        with closing(self._connection.cursor()) as connection:  # its own: the store's may be busy with a result
            try:
                kinds = [statement.type for statement in connection.extract_statements(query)]
            except ValueError:  # a kind that Python does not know: COPY FROM DATABASE
                raise StoreError(_NOT_ONE) from None
            if kinds == [duckdb.StatementType.MULTI]:
                raise StoreError("PIVOT wants its values named here: PIVOT ... ON column IN ('one', 'other') USING ...")
            if kinds != [duckdb.StatementType.SELECT]:
                raise StoreError(_NOT_ONE)
            ((text,),) = connection.execute("SELECT json_serialize_sql($query::VARCHAR)", {"query": query}).fetchall()
        reason = _refusal(text, self.known)
        if reason:
            raise StoreError(f"SQL may only read this database: {reason}")
        if len(self._checked) >= _CHECKED:
            self._checked.clear()
        self._checked.add(query)

    @cached_property
    def known(self) -> Known:
        """The tables, views and macros of this database, for the walk; a file from somewhere else may hold any."""
        with closing(self._connection.cursor()) as connection:
            names = connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
            defined = connection.execute(_DEFINITIONS).fetchall()
        tables = frozenset(name.lower() for (name,) in names) | {name for kind, name, _ in defined if kind == "view"}
        macros = frozenset(name for kind, name, _ in defined if kind != "view")
        known = Known(tables, macros)
        while True:  # until no more is refused: one may use another
            reasons = {f"{kind} {name}": _refusal(text, _for_view(name, known)) for kind, name, text in defined}
            refused = {who.partition(" ")[2]: f"{who}: {reason}" for who, reason in reasons.items() if reason}
            if refused.keys() == known.refused.keys():
                return known
            known = Known(tables, macros, refused)

    def _holds_nothing(self) -> bool:
        """Whether there is no run."""
        self._drop_run()
        with suppress(StoreError):
            return not self._execute("SELECT run_id FROM runs UNION ALL SELECT search_id FROM duplicate_searches LIMIT 1")
        return False

    def _remove_made(self) -> None:
        """Leave nothing of a file that was made for what then failed."""
        if self._is_new:
            for suffix in ("", *LOGS):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _bring_up_to_date(self) -> None:
        """Applies the migrations that the file lacks, all in one transaction."""
        migrations = _migrations()
        newest = max(migrations)
        version = self._version()
        if version > newest:
            raise StoreError(
                f"{self.path}: schema version {version} is newer than {newest}, the newest known here; update synthtrace"
            )
        if version == newest:
            return
        if self.read_only:
            raise StoreError(f"{self.path}: schema version {version} is older than {newest}; open it for writing once")
        self._execute("BEGIN")
        self._execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
        for number in range(version + 1, newest + 1):
            self._execute(migrations[number].read_text(encoding="utf-8"))
            self._insert("schema_version", {"version": number})
        self._execute("COMMIT")

    def _version(self) -> int:
        """The newest migration applied, 0 for a new file."""
        tables = self._large.tables()
        if not tables and not self.read_only:
            return 0
        if not {"schema_version", "runs"} <= {*tables} or "neighbours" not in tables:
            raise StoreError(f"{self.path}: a DuckDB file, but no synthtrace database")
        return int(self._execute("SELECT max(version) FROM schema_version")[0][0])

    def _columns(self, table: str) -> dict[str, bool]:
        """Each column of a table that holds a run's data, or a search's, and whether it must be given."""
        columns: dict[str, bool] = dict(
            self._execute(
                "SELECT column_name, NOT is_nullable AND column_default IS NULL FROM duckdb_columns() "
                "WHERE table_name = $table AND table_name IN (SELECT table_name FROM duckdb_tables())",
                {"table": self._large.stored(table)},
            )
        )
        if table in ("runs", "run_views", "schema_version") or not {"run_id", "search_id"} & columns.keys():
            raise ValueError(f"there is no table {table!r} to add to")
        return columns

    def _check_columns(self, table: str, names: Sequence[str]) -> None:
        columns = self._columns(table)
        unknown = [name for name in names if name not in columns]
        missing = [name for name, needed in columns.items() if needed and name not in names]
        if unknown or missing:
            raise ValueError(f"{table}: columns must be {', '.join(columns)}; unknown: {unknown}, missing: {missing}")

    def _check_view(self, run: Value | None, view: Value | None) -> None:
        query = "SELECT view FROM run_views WHERE run_id = $run UNION SELECT view FROM neighbours WHERE run_id = $run ORDER BY 1"
        views = [name for (name,) in self._execute(query, {"run": run})]
        if view not in views:
            raise StoreError(f"run {run} has no view {view!r}; it has {', '.join(views)}")


_NAME = r'(?:\w+|"(?:[^"]|"")*")'
_DEFINITIONS = rf"""
    SELECT 'view', lower(view_name), json_serialize_sql(
        regexp_extract(sql, '^CREATE (?:TEMP )?VIEW (?:{_NAME}\.)*{_NAME}(?: \({_NAME}(?:, {_NAME})*\))? AS (.*)$', 1, 's')
    )
    FROM duckdb_views() WHERE NOT internal
    UNION ALL
    SELECT 'macro', lower(function_name), json_serialize_sql(
        CASE function_type WHEN 'macro' THEN 'SELECT ' || macro_definition ELSE macro_definition END
    )
    FROM duckdb_functions() WHERE NOT internal
"""

_TWICE = "neighbours occur twice at one rank"
_RANGES = "SELECT view, min(query_id), max(query_id), count(*) - count(DISTINCT (query_id, rank)) FROM ({}) GROUP BY view"
_CHECKS = {  # what is wrong: how many of it there are
    "image ids occur twice": "SELECT count(*) - count(DISTINCT image_id) FROM images WHERE run_id = $run",
    "image names occur twice in one role": "SELECT count(*) - count(DISTINCT (role, name)) FROM images WHERE run_id = $run",
    "neighbours lack an image of the right role": """
        SELECT count(*) FROM neighbours AS n
        LEFT JOIN images AS q ON q.run_id = $run AND q.image_id = n.query_id AND q.role = n.query_role
        LEFT JOIN images AS m ON m.run_id = $run AND m.image_id = n.neighbour_id AND m.role <> n.query_role
        WHERE n.run_id = $run AND (q.image_id IS NULL OR m.image_id IS NULL)""",
    _TWICE: """
        SELECT count(*) - count(DISTINCT (query_id, view, rank)) FROM neighbours WHERE run_id = $run""",
    "decisions of the filter lack an image of the right role": """
        SELECT count(*) FROM release_decisions AS d
        LEFT JOIN images AS g ON g.run_id = $run AND g.image_id = d.image_id AND g.role = 'generated'
        LEFT JOIN images AS r ON r.run_id = $run AND r.image_id = d.nearest_id AND r.role = 'real'
        WHERE d.run_id = $run AND (g.image_id IS NULL OR (d.nearest_id IS NOT NULL AND r.image_id IS NULL))""",
    "distances lack an image of the right role": """
        SELECT count(*) FROM distances AS d
        LEFT JOIN images AS r ON r.run_id = $run AND r.image_id = d.real_id AND r.role = 'real'
        LEFT JOIN images AS g ON g.run_id = $run AND g.image_id = d.generated_id AND g.role = 'generated'
        WHERE d.run_id = $run AND (r.image_id IS NULL OR g.image_id IS NULL)""",
}


def code_words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Packed binary codes (n, bytes) as the 64-bit words (n, ceil(bytes / 8)) of table codes, filled up with zero bits."""
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % 8)))
    return np.ascontiguousarray(padded).view("<u8").astype(np.uint64, copy=False)


def write_table(table: pa.Table, path: Path | str) -> int:
    """Writes a table as its suffix says (.csv, .parquet, .json), whole or not at all; the number of rows.

    The file is readable for its owner only. CSV is escaped (`embeddings.files.spreadsheet`), lists in it are JSON. JSON is an
    array of objects, numbers that are not finite are null and times are ISO 8601.

    Raises:
        StoreError: another suffix, or the file cannot be written.
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise StoreError(f"{path}: the suffix must be one of {', '.join(_WRITERS)}")
    if not path.parent.is_dir():
        raise StoreError(f"{path}: there is no folder {path.parent}; make it, or name another")
    try:
        write_atomic(path, lambda file: write(table, file))
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from None
    return len(table)


def _first_rows(reader: pa.RecordBatchReader, rows: int) -> tuple[pa.Table, bool]:
    """At most so many rows, and whether there were more."""
    batches, count = [], 0
    for batch in reader:
        batches.append(batch)
        count += len(batch)
        if count > rows:
            break
    return pa.Table.from_batches(batches, reader.schema).slice(0, rows), count > rows


def _write_csv(table: pa.Table, file: BinaryIO) -> None:
    for number, column in enumerate(table.columns):
        if pa.types.is_nested(column.type):
            texts = [None if value is None else json.dumps(plain(value), ensure_ascii=False) for value in column.to_pylist()]
            table = table.set_column(number, table.column_names[number], pa.array(texts, pa.string()))
    write_arrow(file, table)


def _write_json(table: pa.Table, file: BinaryIO) -> None:
    separator = "[\n"
    for batch in table.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            file.write((separator + visible_json(json.dumps(plain(row), ensure_ascii=False))).encode())
            separator = ",\n"
    file.write(b"\n]\n" if len(table) else b"[]\n")


_WRITERS: dict[str, Callable[[pa.Table, BinaryIO], None]] = {
    ".csv": _write_csv,
    ".parquet": pa.parquet.write_table,
    ".json": _write_json,
}


def _fields(row: Run | RunView) -> dict[str, Any]:
    values = ((item.name, getattr(row, item.name)) for item in fields(row))
    return {name: json.dumps(dict(value), sort_keys=True) if isinstance(value, Mapping) else value for name, value in values}


def _table(data: Columns) -> pa.Table:
    return data if isinstance(data, pa.Table) else pa.table({name: _arrow(values) for name, values in data.items()})


def _arrow(values: ArrayLike) -> pa.Array:
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.array(values, from_pandas=True)  # from_pandas: NaN becomes NULL


def _migrations() -> dict[int, Path]:
    return {int(path.name[:4]): path for path in (SQL / "migrations").glob("[0-9][0-9][0-9][0-9]_*.sql")}


def _read_analysis(path: Path) -> Analysis:
    """Reads the header, ``-- question`` lines followed by ``-- parameter: name = default`` lines."""
    sql = path.read_text(encoding="utf-8")
    header = [line.removeprefix("--").strip() for line in re.match(r"(--.*\n)*", sql)[0].splitlines()]  # type: ignore[index]
    parameters = [re.fullmatch(r"parameter: (\w+) = (.+)", line) for line in header]
    question = " ".join(line for line, parameter in zip(header, parameters, strict=True) if parameter is None)
    return Analysis(path.stem, question, sql, {match[1]: _default(match[2]) for match in parameters if match})


def _default(text: str) -> Value | None:
    if text == "latest":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _check_file(path: str, read_only: bool) -> None:
    """Refuses what DuckDB would refuse less clearly, or would open with an extension (a SQLite file)."""
    if path == MEMORY:
        if read_only:
            raise StoreError("a database in memory cannot be opened read-only: it would be empty")
        return
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except FileNotFoundError:
        if read_only:
            raise StoreError(f"{path}: there is no such file; `synthtrace audit` or `synthtrace compare` makes one") from None
        if not Path(path).parent.is_dir():
            raise StoreError(f"{path}: there is no folder {Path(path).parent}") from None
        return
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened: {error.strerror}") from None
    if head[8:] != b"DUCK":
        raise StoreError(f"{path}: not a DuckDB file")


def check_logs(path: str) -> None:
    """Refuses a log beside a database that somebody else put there: DuckDB would answer with what it says.

    Raises:
        StoreError: a log is no file of its own, or belongs to somebody else, or others may write it.
    """
    file = os.path.realpath(path)  # a link's logs lie beside what it leads to
    for log in (f"{file}{suffix}" for suffix in LOGS if os.path.lexists(f"{file}{suffix}")):
        status = os.lstat(log)
        if not os.path.exists(file):
            raise StoreError(f"{log}: a log without its database {path}; move it away")
        owners = {0, os.geteuid(), os.stat(file).st_uid}
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in owners or status.st_mode & 0o022:
            raise StoreError(f"{log}: somebody else may have put it beside the database; look at it, and move it away")


def _keep_private(path: str) -> None:
    """Closes a database made by another program, or before, to all but its owner."""
    for suffix in ("", *LOGS):
        with suppress(FileNotFoundError, PermissionError):  # whose it is not cannot
            os.chmod(f"{os.path.realpath(path)}{suffix}", 0o600)


def _refusal(text: str, known: Known) -> str:
    """Why a statement, as `json_serialize_sql` gives it, may do more than read; empty where it only reads."""
    try:
        parsed = json.loads(text)
    except RecursionError:
        return "the query is nested too deeply"
    if parsed["error"]:
        return str(parsed["error_message"])
    return refusal(parsed["statements"], known) if len(parsed["statements"]) == 1 else "it is not one statement"


def _for_view(name: str, known: Known) -> Known:
    """What a view or macro may use: the views of tables read Parquet files, and DuckDB takes none but those of the database."""
    return replace(known, functions=known.functions | FUNCTIONS) if name in IDS else known


@contextmanager
def _files_written(path: str, folder: Path) -> Iterator[None]:
    """Turns what the system says of Parquet files into a StoreError of one line."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        told = f"{folder} cannot be written: {getattr(error, 'strerror', None) or error}; mend that, or name another database"
        raise StoreError(f"{path}: {_NO_SPACE if _is_full(str(error)) else told}") from error


@contextmanager
def _one_line(path: str, subject: str = "") -> Iterator[None]:
    """Turns DuckDB's errors into a StoreError of one line that names the database and the subject."""
    note = f"{path}: {subject}: " if subject else f"{path}: "
    try:
        yield
    except duckdb.Error as error:
        raise StoreError(f"{note}{_reason(str(error), path)}") from error
    except UnicodeEncodeError as error:
        raise StoreError(f"{note}the query, or a value for it, holds bytes that are no text") from error


def _is_full(message: str) -> bool:
    return any(os.strerror(number) in message for number in (errno.ENOSPC, errno.EDQUOT))


def _reason(message: str, path: str) -> str:
    """What DuckDB says in one line, the database named as the user named it, and no home folder."""
    if _is_full(message):
        return _NO_SPACE
    held = re.search(r"Conflicting lock is held in (.+?) \(PID (\d+)\)", message)
    if held:
        return f"in use by another process ({held[1]}, PID {held[2]}); wait until it ends"
    if "Could not set lock" in message:
        return "in use by another process; wait until it ends"
    if "different configuration" in message:
        return "already open in this process in the other mode (read-only or writing); close it there first"
    lines = message.partition("\nLINE ")[0].splitlines()  # after LINE DuckDB repeats the query
    text = " ".join(line.strip() for line in lines if line.strip())
    names = {os.path.realpath(path): path, os.path.abspath(path): path, f"{Path.home()}/": "~/"}
    return re.sub("|".join(map(re.escape, names)), lambda match: names[match[0]], text)
