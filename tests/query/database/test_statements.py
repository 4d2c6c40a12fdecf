"""SQL from outside reads the database and nothing else, through the store, the command and the service; what holds it besides."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from query.cli.group import program
from query.database import statements
from query.database.store import LOGS, Store, StoreError
from query.service.backend.sql import process, queries
from tests.helpers.places import ROOT
from tests.helpers.statements import listed, made
from tests.query.database.test_store import write_run


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with one finished run, alone in its folder."""
    path = tmp_path_factory.mktemp("database") / "results.duckdb"
    with Store.open(path) as store:
        write_run(store)
    return path


def files(db: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in db.parent.iterdir()}


def refused_by(store: Store, text: str) -> str:
    with pytest.raises(StoreError) as error:
        print(f"answered: {text}", store.sql(text))
    return str(error.value)


@pytest.mark.parametrize("read_only", [True, False])
def test_what_does_not_only_read_is_refused(db: Path, read_only: bool) -> None:
    statements = listed("refused", db)
    assert len(statements) > 200
    with Store.open(db, read_only=read_only) as store:
        before = files(db)
        for text in statements:
            note = refused_by(store, text)
            assert "\n" not in note
            for ask in (store.relation, lambda text: store.select(text, rows=1, seconds=5), lambda t: store.export(t, "x.csv")):
                with pytest.raises(StoreError):
                    ask(text)
        assert store.sql("SELECT count(*) AS n FROM runs")["n"].to_pylist() == [1]
        assert files(db) == before
    assert os.listdir(db.parent) == [db.name]


def test_what_only_reads_is_answered(db: Path) -> None:
    statements = listed("allowed", db)
    assert len(statements) > 80
    before = files(db)
    with Store.open(db, read_only=True) as store:
        for text in statements:
            assert store.sql(text).num_columns > 0, text
    assert files(db) == before


def test_made_up_statements_are_refused(db: Path) -> None:
    statements = made(400, 0, db)
    with Store.open(db) as store:
        before = files(db)
        for text in statements:
            refused_by(store, text)
        assert files(db) == before


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 10))])
def test_the_command_refuses_them_too(db: Path, part: int) -> None:
    before = files(db)
    for text in listed("refused", db)[part::10]:
        result = CliRunner().invoke(program, ["sql", "--db", str(db), "--", text])
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), f"{text}: {result.stderr}"
        assert result.stdout == ""
    assert files(db) == before


NESTED = "SELECT 1 WHERE EXISTS (WITH x AS (COPY runs TO '{db}.wal') SELECT 1 FROM x)"
ASKED = (
    "WITH x AS (COPY runs TO '{db}.wal') SELECT 1", NESTED, "SELECT * FROM read_text('{db}')", "SELECT 1; DELETE FROM runs",
)  # fmt: skip


def asked(db: Path, text: str) -> str:
    """What a process of the service says to what it refuses."""
    with Store.open(db, read_only=True) as store, pytest.raises(StoreError) as error:
        print(f"answered: {text}", queries.ask(store, text))
    return str(error.value)


def test_a_process_of_the_service_refuses_them_too(db: Path) -> None:
    before = files(db)
    for text in ASKED:
        assert "SELECT is wanted" in (note := asked(db, text.replace("{db}", str(db)))) or "may only read" in note
    assert files(db) == before


FORKED = """
    import io, os, sys
    from query.service.backend.sql import process  # once: to start anew for each of hundreds of statements takes minutes
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            sys.stdin = io.StringIO(line)
            os._exit(process._main())
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=sys.stderr)
"""


@pytest.mark.slow
def test_a_process_of_the_service_refuses_all_of_them_and_answers_all_others(db: Path) -> None:
    before = files(db)
    expected = dict.fromkeys(listed("refused", db), process.REFUSED) | dict.fromkeys(listed("allowed", db), 0)
    with Store.open(db, read_only=True) as store:
        requests = "\n".join(queries.request(store, text) for text in expected)
    command = [sys.executable, "-c", textwrap.dedent(FORKED)]
    done = subprocess.run(command, input=requests, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600)
    assert dict(zip(expected, map(int, done.stderr.split()), strict=True)) == expected
    assert files(db) == before


def test_times_with_a_zone_are_answered_by_a_process_that_opens_no_file(db: Path) -> None:
    with Store.open(db, read_only=True) as store:
        query = "SELECT TIMESTAMPTZ '2026-01-02 03:04:05+00', DATE '2026-01-02' AT TIME ZONE 'UTC'"
        ((year, day),) = json.loads(queries.ask(store, query))["rows"]
    assert str(year).startswith("202")
    assert str(day).startswith("202")


# What holds where the walk would not


def test_a_sealed_store_opens_no_file_even_unwalked(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "_check", lambda self, query: None)
    before = files(db)
    with Store.open(db, read_only=True) as store:
        for text in (
            *(f"WITH x AS (COPY runs TO '{db}{suffix}') SELECT * FROM x" for suffix in ("", *LOGS)),
            f"WITH x AS (COPY runs TO '{db}' (USE_TMP_FILE false)) SELECT * FROM x",
            f"SELECT * FROM read_blob('{db}')",
            f"SELECT * FROM enable_logging(storage := 'file', storage_path := '{db.parent}/logs')",
            "SET disabled_filesystems = ''",
        ):
            refused_by(store, text)
        assert store.sql("SELECT count(*) AS n FROM images")["n"].to_pylist() == [3]
    assert files(db) == before


def test_a_store_that_spills_does(db: Path) -> None:
    heavy = "SELECT max(h) FROM (SELECT hash(range) AS h FROM range(2000000) ORDER BY h, range OFFSET 5)"
    small = {"memory_limit": "24MB", "threads": "1"}
    with Store.open(db, read_only=True, spill=True, settings=small) as store:
        assert store.sql(heavy).num_rows == 1
    with Store.open(db, read_only=True, settings=small) as store, pytest.raises(StoreError, match=r"(?i)memory"):
        store.sql(heavy)
    assert os.listdir(db.parent) == [db.name]


def test_a_process_of_the_service_can_write_nothing(db: Path) -> None:
    program = f"""
        import os, sys
        sys.path.insert(0, {str(ROOT)!r})
        from query.service.backend.sql import process
        from query.database.store import Store
        Store._check = lambda self, query: None
        kept = open({str(db.parent / "kept")!r}, "ab", 0)
        with Store.open({str(db)!r}, read_only=True, spill=True, settings=process.SETTINGS) as store:
            with process._closed_off(store):
                for write in (
                    lambda: open({str(db)!r} + ".wal", "wb"),
                    lambda: open({str(db)!r}, "r+b"),
                    lambda: kept.write(b"x"),
                    lambda: store.sql("WITH x AS (COPY runs TO '{db}.wal') SELECT * FROM x"),
                ):
                    try:
                        write()
                    except Exception as error:
                        print(type(error).__name__, error)
                    else:
                        print("written")
                print(store.sql("SELECT count(*) AS n FROM images")["n"].to_pylist())
    """
    (db.parent / "kept").touch()
    before = files(db)
    try:
        command = [sys.executable, "-c", textwrap.dedent(program)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
        assert "written" not in done.stdout
        assert done.stdout.splitlines()[-1] == "[3]"
        assert len(done.stdout.splitlines()) == 5
        assert files(db) == before
    finally:
        (db.parent / "kept").unlink()


# What the walk stands on


def test_listed_functions_are_known_and_change_nothing() -> None:
    with duckdb.connect() as connection:
        asked = "SELECT lower(function_name), function_type, has_side_effects FROM duckdb_functions()"
        kinds = connection.execute(asked).fetchall()
    of_parser = {"unnest", "unlist", "ifnull", "iff", "row", "struct_pack"}
    assert statements.functions() - {name for name, _, _ in kinds} <= of_parser
    changing = {name for name, _, changes in kinds if changes}
    assert statements.functions() & changing == {"random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "error"}
    tables = {name for name, kind, _ in kinds if kind in ("table", "table_macro", "pragma")}
    read = (  # histogram and version are functions of values too
        "histogram version range generate_series repeat repeat_row unnest json_each json_tree pragma_table_info pragma_version "
        "duckdb_columns duckdb_constraints duckdb_functions duckdb_indexes duckdb_keywords duckdb_schemas duckdb_tables "
        "duckdb_types duckdb_views"
    )
    assert statements.functions() & tables == {*read.split(" ")}


def test_tables_of_duckdb_are_known_by_their_names() -> None:
    with duckdb.connect() as connection:
        views = connection.execute("SELECT view_name FROM duckdb_views() WHERE internal AND schema_name <> 'information_schema'")
        assert not [name for (name,) in views.fetchall() if not statements._SYSTEM.fullmatch(name)]


def test_a_foreign_database_brings_nothing_in_by_its_views_and_macros(db: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.duckdb"
    foreign.write_bytes(db.read_bytes())
    with duckdb.connect(str(foreign)) as connection:
        for text in (
            'CREATE VIEW "an ""AS"" view" (a, "b )") AS SELECT value, name FROM duckdb_settings()',
            'CREATE VIEW by_another AS SELECT * FROM "an ""AS"" view"',
            "CREATE MACRO lcase(a) AS write_log(a::VARCHAR)",
            "CREATE MACRO by_macro(a) AS lcase(a)",
            "CREATE MACRO as_table(a) AS TABLE SELECT * FROM read_text(a)",
            "CREATE MACRO twice(a) AS 2 * a, (a, b) AS a * b",
            'CREATE TABLE "a.b" (i INTEGER)',
            "CREATE VIEW fine AS SELECT twice(run_id) AS n FROM runs",
        ):
            connection.execute(text)
    with Store.open(foreign, read_only=True) as store:
        for table in ('"an ""AS"" view"', "by_another", f"as_table('{db}')", "(SELECT lcase('a'))", "(SELECT by_macro('a'))"):
            assert "may only read" in refused_by(store, f"SELECT * FROM {table}")
        assert store.sql("SELECT twice(2, 3) AS n FROM fine, runs")["n"].to_pylist() == [6]
        assert store.sql('SELECT * FROM "a.b"').num_rows == 0
        assert store.sql("SELECT hamming([1], [3]) AS n")["n"].to_pylist() == [1]


def test_a_query_that_is_no_text_or_too_deep_is_one_line(db: Path) -> None:
    with Store.open(db, read_only=True) as store:
        for text, note in (
            ("SELECT '\ud800'", "no text"),
            ("SELECT 1\0; DELETE FROM runs", "NUL"),
            ("SELECT " + "+".join("1" * 3000), "depth"),
            ("SELECT " + "+".join("1" * 900), "nested too deeply"),
            ("SELECT lenn('a')", "did you mean len"),
            ("SELECT * FROM imagess", 'Did you mean "images"'),
        ):
            assert note in refused_by(store, text)
        with pytest.raises(StoreError, match="surrogate"):
            store.sql("SELECT $a", {"a": "\ud800"})
        with pytest.raises(StoreError, match="parameter"):
            store.sql("SELECT $a")


def test_parameters_are_values_and_never_text_of_sql(db: Path) -> None:
    hostile = "'; DELETE FROM runs; --"
    with Store.open(db, read_only=True) as store:
        assert store.sql("SELECT $a AS a", {"a": hostile})["a"].to_pylist() == [hostile]
        with pytest.raises(StoreError, match="has no view"):
            store.analyse("distance-histogram", view=hostile)
        with pytest.raises(StoreError, match="must be a whole number"):
            store.analyse("most-copied", limit=hostile)
        with pytest.raises(StoreError, match="there is no analysis"):
            store.analyse(hostile)


def test_answering_is_walked_where_it_runs_in_the_service(db: Path) -> None:
    with Store.open(db, read_only=True, spill=True) as store, pytest.raises(StoreError, match="may only read"):
        process.answer(store, NESTED.replace("{db}", str(db)), None, 5)
