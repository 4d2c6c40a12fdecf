"""Commands `sql`, `check`, `info`, `doctor`: query a database, inspect collections and the machine."""

import sys
from pathlib import Path
from textwrap import fill, indent
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from embeddings.files.temporary import temporary_folder
from query import terminal
from query.cli.options import common_options, json_option
from query.cli.parameters import DATABASE, NewFile, command, option, together
from query.cli.program import DONE, USAGE, exit_code, show, working
from query.text import name, table

if TYPE_CHECKING:
    import pyarrow as pa

    from query import Database
    from query.cli.output.info import CollectionInfo
    from query.cli.output.sharded_info import ShardedInfo


@command()
@click.argument("query", required=False)
@option("--db", default="synthtrace.duckdb", type=DATABASE, help="DuckDB file to query (read only).")
@option("--param", "params", multiple=True, metavar="NAME=VALUE", help="Parameter of the analysis, or value of $NAME in the SQL.")
@option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "parquet"]),
    help="Format of standard output.  [default: table]",
)
@option("--out", type=NewFile(), help="Write to this file instead (.csv, .json or .parquet).")
@option(
    "--patient-ids",
    is_flag=True,
    help="Say who hashed patients are: column patient_id, read again from the image files. It names patients; nothing is stored.",
)
@common_options
def sql(query: str | None, db: Path, params: tuple[str, ...], form: str | None, out: Path | None, patient_ids: bool) -> int:
    """Query a database with SQL or a named analysis.

    QUERY is a SELECT or the name of an analysis; without it, the analyses and their parameters are listed.

    \b
    Example:
      synthtrace sql --db results.duckdb source-map --param threshold=50
      synthtrace sql --db results.duckdb withheld-patients --patient-ids
    """
    from query import Database
    from query.database.store import write_table

    if form and out:
        raise click.UsageError("--format is for standard output; with --out the file's suffix decides")
    if query is None:
        _check_listing(db)
        terminal.out(_analyses_text())
        return DONE
    parameters = dict(_parameter(text) for text in params)
    with Database(db, read_only=True) as database:
        named = query in database.analyses() or len(query.split()) == 1
        result = database.analyse(query, **parameters) if named else database.sql(query, parameters)
        notes = _notes(database, result)
        if patient_ids:
            result = database.with_patient_ids(result)
    if out:
        write_table(result, out)
    else:
        _emit(result, form or "table")
    with working() as report:
        for note in notes:
            report.say(note)
    return DONE


def _check_listing(db: Path) -> None:
    """Where analyses are only listed, what was asked besides must not be passed over.

    Raises:
        click.UsageError: an option is for the answer to a query.
        StoreError: the database that was named cannot be asked.
    """
    from query import Database

    source = click.get_current_context().get_parameter_source
    for parameter, note in (("params", "--param"), ("form", "--format"), ("out", "--out"), ("patient_ids", "--patient-ids")):
        if source(parameter) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{note} is for the answer to a query or an analysis: name one")
    if source("db") is ParameterSource.COMMANDLINE:
        Database(db, read_only=True).close()


def _notes(database: "Database", result: "pa.Table") -> list[str]:
    """What must be known of the views in a result: above all that a network was not trained."""
    views = set(result["view"].to_pylist()) if result.column_names.count("view") == 1 else set()
    noted = database.sql("SELECT DISTINCT view, note FROM run_views WHERE note <> '' ORDER BY ALL").to_pylist()
    return [f"{row['view']}: {row['note']}" for row in noted if row["view"] in views]


def _analyses_text() -> str:
    from query import Database

    lines = []
    for analysis in Database.analyses().values():
        known = ", ".join(f"{name}={'latest' if value is None else value}" for name, value in analysis.parameters.items())
        lines += [f"{analysis.name}  ({known})" if known else analysis.name, indent(fill(analysis.question, 100), "    ")]
    return "\n".join(lines)


def _parameter(text: str) -> tuple[str, int | float | str]:
    """``name=value``, the value as a number where it is one."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.UsageError(f"--param takes NAME=VALUE, got {text!r}")
    try:
        return key, float(value) if "." in value else int(value)
    except ValueError:
        return key, value


def _emit(result: "pa.Table", form: str) -> None:
    """A table on standard output."""
    if form == "table":
        rows = list(zip(*(column.to_pylist() for column in result.columns), strict=True))
        terminal.out(table([*map(name, result.column_names)], rows))
        return
    from query.database.store import write_table

    if form == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet is nothing for a terminal: name a file with --out")
    with temporary_folder() as folder:
        path = Path(folder, f"result.{form}")
        write_table(result, path)
        with open(path, "rb") as file:
            terminal.send(file)


@command()
@click.argument("collections", nargs=-1, required=True, metavar="COLLECTION|DB...", type=click.Path(path_type=Path))
@together(json_option, common_options)
def check(collections: tuple[Path, ...], as_json: bool) -> int:
    """Check collections, and the Parquet files of databases, against their checksums.

    Exit code 1 if one is damaged, 2 if it is no collection or database, or not all there.

    \b
    Example:
      synthtrace check generated.collection
    """
    from indexer.manifest import CollectionError
    from query.cli.output.info import damages, database_damages
    from query.database.store import StoreError

    reports: dict[str, list[str]] = {}
    missing = False
    for folder in collections:
        try:
            reports[str(folder)] = database_damages(folder) if folder.is_file() else damages(folder)
        except (CollectionError, StoreError) as error:
            reports[str(folder)], missing = [str(error)], True
    lines = [line for folder, problems in reports.items() for line in (problems or [f"{folder}: whole"])]
    result = {"collections": [{"collection": folder, "problems": problems} for folder, problems in reports.items()]}
    show(result, as_json, "\n".join(map(name, lines)))
    return USAGE if missing else exit_code(0, sum(map(len, reports.values())))


@command()
@click.argument("path", metavar="COLLECTION|DB", type=click.Path(exists=True, path_type=Path))
@together(json_option, common_options)
def info(path: Path, as_json: bool) -> int:
    """Describe a collection or a database.

    \b
    Example:
      synthtrace info generated.collection
    """
    from query.cli.output.info import database_info

    if path.is_dir():
        collection = _collection_info(path)
        show(collection, as_json, str(collection))
    else:
        database = database_info(path)
        show(database, as_json, str(database))
    return DONE


def _collection_info(folder: Path) -> "CollectionInfo | ShardedInfo":
    from indexer import open_collection
    from indexer.collection import Collection
    from query.cli.output.info import collection_info
    from query.cli.output.sharded_info import sharded_info

    collection = open_collection(folder)
    return collection_info(collection) if isinstance(collection, Collection) else sharded_info(collection)


@command()
@together(json_option, common_options)
def doctor(as_json: bool) -> int:
    """Check whether this machine meets the requirements.

    Shows versions, processor, GPU (or why there is none), optional packages and disk space. Exit code 1 if one is not met.

    \b
    Example:
      synthtrace doctor
    """
    from query.cli.output.doctor import examine, report

    checks = examine(Path.cwd())
    wrong = sum(check.fit is False for check in checks)
    show({"fit": not wrong, "checks": checks}, as_json, report(checks))
    return exit_code(0, wrong)
