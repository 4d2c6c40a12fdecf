"""Large tables: those with rows of generated images. With the first run that has Parquet files they become views of their name.

A view reads the Parquet files of all runs, and NAME_table, which holds what of it is in the database itself: rows of real images,
and of runs without Parquet files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any

from query.database.parquet import IDS, ParquetFile

FOLDER = "synthtrace_folder"  # SQL variable: where the database lies; without it files are looked for in the working folder
FUNCTIONS = frozenset(("read_parquet", "getvariable"))  # that the views call
_COLUMNS = """
    SELECT column_name, data_type, coalesce(column_default, 'NULL') FROM duckdb_columns()
    WHERE table_name = $table AND column_name <> 'run_id' ORDER BY column_index"""


class LargeTables:
    """The large tables of a database.

    Args:
        execute: runs a statement with the values of its parameters; rows of its result.
    """

    def __init__(self, execute: Callable[[str, Mapping[str, Any]], list[tuple[Any, ...]]]) -> None:
        self._execute = execute

    def files(self) -> list[ParquetFile]:
        """The Parquet files that the database knows. Of a file from somewhere else, no view and no macro is called.

        Raises:
            ValueError: the database was not written here.
        """
        query = "SELECT 1 FROM system.main.duckdb_tables() WHERE table_name = 'parquet_files' AND schema_name = 'main'"
        if not self._execute(query, {}):
            return []
        columns = ", ".join(each.name for each in fields(ParquetFile))
        return [ParquetFile(*row) for row in self._execute(f"SELECT {columns} FROM main.parquet_files ORDER BY run_id, path", {})]

    def tables(self) -> list[str]:
        """All tables by name; a view of Parquet files stands for the table that it reads."""
        names = {name for (name,) in self._execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal", {})}
        views = {name for name in IDS if _table(name) in names}
        return sorted((names | views) - set(map(_table, views)))

    def stored(self, table: str) -> str:
        """The table that rows are added to."""
        query = "SELECT 1 FROM duckdb_tables() WHERE table_name = $name"
        return _table(table) if table in IDS and self._execute(query, {"name": _table(table)}) else table

    def become_views(self, files: Sequence[ParquetFile]) -> None:
        """Make views of those that are tables yet."""
        for table in IDS:
            if self.stored(table) == table:
                self._execute(f'ALTER TABLE "{table}" RENAME TO "{_table(table)}"', {})
        self.write_views(files)

    def write_views(self, files: Sequence[ParquetFile]) -> None:
        """Let the views read these files, in this order."""
        for table in IDS:
            columns = [name for name, _, _ in self._execute(_COLUMNS, {"table": _table(table)})]
            self._execute(_view(table, columns, [file for file in files if file.table_name == table]), {})

    def as_stored(self, table: str, given: Sequence[str], source: str) -> str:
        """A query for rows of a source as the table would hold them: its columns but run_id, with their types and defaults.

        Args:
            table: one of the large ones.
            given: columns of the source.
            source: what they are taken from.
        """
        columns = self._execute(_COLUMNS, {"table": self.stored(table)})
        values = [(name, f'"{name}"' if name in given else default, kind) for name, kind, default in columns]
        cast = ", ".join(f'CAST({value} AS {kind}) AS "{name}"' for name, value, kind in values)
        return f"SELECT {cast} FROM {source}"

    def rules(self, table: str) -> list[str]:
        """The constraints of a table as SQL, but those of run_id: a row may not be against one."""
        found = self._execute(
            "SELECT constraint_type, expression, constraint_column_names FROM duckdb_constraints() WHERE table_name = $table",
            {"table": self.stored(table)},
        )
        needed = [name for kind, _, columns in found if kind == "NOT NULL" for name in columns if name != "run_id"]
        return [*(f'"{name}" IS NOT NULL' for name in needed), *(text for kind, text, _ in found if kind == "CHECK")]


def _table(name: str) -> str:
    return f"{name}_table"


def _view(table: str, columns: Sequence[str], files: Sequence[ParquetFile]) -> str:
    """The statement that makes a view of Parquet files and of a table."""
    names = ", ".join(f'"{name}"' for name in columns)
    parts = []
    for run, of_run in groupby(files, lambda file: file.run_id):
        paths = ", ".join(f"coalesce(getvariable('{FOLDER}'), '.') || '/{file.path}'" for file in of_run)
        parts.append(f"SELECT CAST({run} AS INTEGER) AS run_id, {names} FROM read_parquet([{paths}])")
    return f'CREATE OR REPLACE VIEW "{table}" AS ' + " UNION ALL ".join(
        [*parts, f'SELECT run_id, {names} FROM "{_table(table)}"']
    )
