"""The store as a file: runs that are whole or absent, locks, migrations, sandbox, exports."""

import csv
import errno
import json
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import query.database.store
from query.database.store import LOGS, SQL, Run, RunView, Store, StoreError, write_table

RUN = Run("synthtrace compare", 3, False, "real", "generated", 1, 2)
VIEW = RunView("phash", 256, "hamming", "0" * 64, {"size": 16})


def images(names: str = "abc") -> dict[str, object]:
    n = len(names)
    return {
        "image_id": np.arange(n), "role": ["generated"] * (n - 1) + ["real"], "path": list(names), "name": list(names),
        "sha256": list(names), "width": np.full(n, 8), "height": np.full(n, 8), "mode": ["L"] * n, "bytes": np.full(n, 9),
    }  # fmt: skip


def write_run(store: Store) -> int:
    number = store.begin_run(RUN, [VIEW])
    store.add("images", images())
    store.finish_run(number)
    return number


def neighbour(**changes: object) -> dict[str, list[object]]:
    row = {
        "query_id": 0,
        "query_role": "generated",
        "view": "phash",
        "rank": 1,
        "neighbour_id": 2,
        "distance": 1.0,
        "mirrored": False,
    }
    return {name: [value] for name, value in (row | changes).items()}


def count(store: Store, table: str) -> int:
    return int(store.sql(f"SELECT count(*) AS n FROM {table}")["n"][0].as_py())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with one finished run."""
    path = tmp_path / "runs.duckdb"
    with Store.open(path) as store:
        write_run(store)
    return path


@contextmanager
def other_process(file: Path, action: str) -> Iterator[subprocess.Popen[str]]:
    """A process that opens the file as `store`, does the action and waits."""
    program = f"""
        import sys, numpy as np
        sys.path.insert(0, {str(SQL.parent.parent)!r})
        from query.database.store import Run, RunView, Store
        store = Store.open({str(file)!r})
        {action}
        print("ready", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_runs_are_numbered_and_marked_finished(file: Path) -> None:
    with Store.open(file) as store:
        assert write_run(store) == 2
        table = store.sql("SELECT run_id, finished, command, settings FROM runs ORDER BY run_id")
        assert table["run_id"].to_pylist() == [1, 2]
        assert table["finished"].to_pylist() == [True, True]
        view = store.sql("SELECT parameters, dim, metric FROM run_views WHERE run_id = 2").to_pylist()
        assert json.loads(view[0].pop("parameters")) == {"size": 16}
        assert view == [{"dim": 256, "metric": "hamming"}]


def test_files_are_readable_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "runs.duckdb"
    with Store.open(path) as store:
        write_run(store)
        store.export("SELECT 1 AS one", tmp_path / "one.csv")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes.keys() >= {"runs.duckdb", "runs.duckdb.wal", "one.csv"}
    assert set(modes.values()) == {0o600}
    (tmp_path / "after").touch()
    assert stat.S_IMODE((tmp_path / "after").stat().st_mode) != 0o600, "the process's own mask is back"


def test_a_killed_run_leaves_nothing(file: Path) -> None:
    action = """
        store.begin_run(Run("killed", 3, False, "r", "g", 1, 1), [RunView("phash", 256, "hamming", "f")])
        n = 300_000
        ids = np.arange(n)
        store.add("distances", {"view": np.repeat("phash", n), "real_id": ids, "generated_id": ids, "distance": ids})
    """
    with other_process(file, action.strip()) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for read_only in (True, False):
        with Store.open(file, read_only=read_only) as store:
            assert [count(store, table) for table in ("runs", "run_views", "images", "distances")] == [1, 1, 3, 0]


def test_a_finished_run_survives_a_kill(file: Path) -> None:
    action = """
        number = store.begin_run(Run("kept", 3, False, "r", "g", 1, 1), [])
        store.add("failures", {"role": ["real"], "path": ["a"], "reason": ["empty"]})
        store.finish_run(number)
    """
    with other_process(file, action.strip()) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Store.open(file, read_only=True) as store:
        assert [count(store, table) for table in ("runs", "failures")] == [2, 1]


def test_a_run_left_open_vanishes(file: Path) -> None:
    with Store.open(file) as store:
        store.begin_run(RUN, [VIEW])
        store.add("images", images())
        number = store.begin_run(RUN, [VIEW])  # drops the first
        assert (number, count(store, "runs"), count(store, "images")) == (2, 2, 3)
        assert count(store, "latest_run") == 1
        assert store.sql("SELECT run_id FROM latest_run")["run_id"].to_pylist() == [1]
    with Store.open(file) as store:
        assert count(store, "runs") == 1


def test_an_exception_drops_the_run(file: Path) -> None:
    def interrupted() -> None:
        with Store.open(file) as store:
            store.begin_run(RUN, [VIEW])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with Store.open(file) as store:
        assert count(store, "runs") == 1


def test_a_file_in_use_is_refused_in_one_line(file: Path) -> None:
    with other_process(file, "pass") as process:
        for read_only in (True, False):
            with pytest.raises(StoreError) as error:
                Store.open(file, read_only=read_only)
            assert "in use by another process" in str(error.value)
            assert f"PID {process.pid}" in str(error.value)
            assert "\n" not in str(error.value)
    with Store.open(file), pytest.raises(StoreError, match="already open in this process"):
        Store.open(file, read_only=True)


def test_many_readers_and_threads(file: Path) -> None:
    with (
        Store.open(file, read_only=True) as store,
        Store.open(file, read_only=True) as other,
        ThreadPoolExecutor(4) as threads,
    ):
        assert count(other, "images") == 3
        assert set(threads.map(lambda _: len(store.analyse("runs")), range(40))) == {1}


def test_a_new_file_gets_the_newest_schema_and_opening_again_changes_nothing(file: Path) -> None:
    versions = sorted(int(path.name[:4]) for path in (SQL / "migrations").iterdir())
    assert versions == list(range(1, len(versions) + 1))
    for _ in range(2):
        with Store.open(file) as store:
            assert store.sql("SELECT version FROM schema_version ORDER BY 1")["version"].to_pylist() == versions


def test_files_have_the_format_that_every_duckdb_since_1_1_reads(file: Path) -> None:
    with Store.open(file) as store:
        write_run(store)
    head = file.read_bytes()[:20]
    assert head[8:12] == b"DUCK"
    assert int.from_bytes(head[12:20], "little") == 64  # DuckDB 1.1.0, 1.1.3 and 1.4.3 read it; by default 2.0.0 writes 999
    with Store.open(file) as store:  # still when it is written again
        write_run(store)
    assert file.read_bytes()[:20] == head


def test_an_old_file_is_migrated_and_a_failed_migration_changes_nothing(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "sql"
    shutil.copytree(SQL, copy)
    newest = len(list((copy / "migrations").iterdir()))
    migration = copy / "migrations" / f"{newest + 1:04}_extra.sql"
    monkeypatch.setattr(query.database.store, "SQL", copy)

    migration.write_text("CREATE TABLE extra (run_id INTEGER); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(StoreError, match="nowhere"):
        Store.open(file)
    migration.write_text("CREATE TABLE extra (run_id INTEGER);")
    with pytest.raises(StoreError, match=f"version {newest} is older than {newest + 1}"):
        Store.open(file, read_only=True)
    with Store.open(file) as store:
        assert count(store, "extra") == 0
        assert count(store, "images") == 3

    monkeypatch.undo()
    for read_only in (True, False):
        with pytest.raises(StoreError, match=f"schema version {newest + 1} is newer than {newest}"):
            Store.open(file, read_only=read_only)


def test_what_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to look into")
    (tmp_path / "empty.db").touch()
    with closing(sqlite3.connect(tmp_path / "sqlite.db")) as other:
        other.execute("CREATE TABLE t (i INTEGER)")
    with Store.open(tmp_path / "foreign.db") as store:
        store._execute("DROP TABLE schema_version")
    (tmp_path / "damaged.db").write_bytes((tmp_path / "foreign.db").read_bytes()[:5000])
    expected = {
        "text.db": "not a DuckDB file", "empty.db": "not a DuckDB file", "sqlite.db": "not a DuckDB file",
        "foreign.db": "no synthtrace database", "damaged.db": "", ".": "Is a directory", "no/such/folder.db": "there is no",
    }  # fmt: skip
    for name, message in expected.items():
        for read_only in (True, False):
            with pytest.raises(StoreError) as error:
                Store.open(tmp_path / name, read_only=read_only)
            assert message in str(error.value)
            assert str(tmp_path) in str(error.value)
            assert "\n" not in str(error.value)
    with pytest.raises(StoreError, match="there is no such file"):
        Store.open(tmp_path / "missing.db", read_only=True)
    assert not (tmp_path / "missing.db").exists()
    with pytest.raises(StoreError, match="in memory"):
        Store.open(":memory:", read_only=True)


def test_read_only_neither_writes_nor_touches_files(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    before = file.read_bytes()
    with Store.open(file, read_only=True) as store:
        for statement in (
            "INSERT INTO failures VALUES (1, 'real', 'a', 'b', NULL)",
            "DELETE FROM runs",
            "CREATE TABLE t (i INTEGER)",
            f"SELECT * FROM '{secret}'",
            f"SELECT * FROM read_csv('{secret}')",
            f"SELECT * FROM read_text('{secret}')",
            f"SELECT * FROM glob('{tmp_path}/*')",
            f"COPY runs TO '{tmp_path}/out.csv'",
            f"EXPORT DATABASE '{tmp_path}/out'",
            f"ATTACH '{tmp_path}/other.db'",
            "SET enable_external_access = true",
            "SET lock_configuration = false",
            "INSTALL httpfs",
            "LOAD httpfs",
        ):
            with pytest.raises(StoreError) as error:
                store.sql(statement)
            assert "\n" not in str(error.value)
        with pytest.raises(StoreError):
            store.begin_run(RUN, [VIEW])
        assert store.export("SELECT path FROM images", tmp_path / "paths.csv") == 3
    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"runs.duckdb", "secret.csv", "paths.csv"}


def test_sql_sees_no_python_variables(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query.database.store, "local", pa.table({"a": [1]}), raising=False)
    for read_only in (True, False):
        with Store.open(file, read_only=read_only) as store, pytest.raises(StoreError, match="local"):
            store.sql("SELECT * FROM local")


def test_sql_takes_parameters(file: Path) -> None:
    with Store.open(file, read_only=True) as store:
        assert store.sql("SELECT name FROM images WHERE image_id = ?", [2])["name"].to_pylist() == ["c"]
        assert store.sql("SELECT name FROM images WHERE image_id = $id", {"id": 0})["name"].to_pylist() == ["a"]
        for none in ("-- nothing", "", ";", "SELECT 1; SELECT 2"):
            with pytest.raises(StoreError, match="one SELECT is wanted"):
                store.sql(none)
        assert store.relation("SELECT name FROM images ORDER BY 1").fetchall() == [("a",), ("b",), ("c",)]
        with pytest.raises(StoreError, match="syntax error"):
            store.relation("SELEC 1")


def test_a_statement_runs_once(file: Path) -> None:
    with Store.open(file) as store:
        store._execute("INSERT INTO failures VALUES (1, 'real', 'a', 'b', NULL)")
        assert count(store, "failures") == 1


def test_add_takes_arrow_and_numpy_alike() -> None:
    with Store.open(":memory:") as store:
        number = store.begin_run(RUN, [VIEW])
        store.add("images", images())
        codes = np.array([[1, 2**64 - 1], [3, 4]], np.uint64)
        store.add("codes", {"image_id": np.array([0, 1]), "view": np.array(["phash", "phash"]), "words": codes})
        store.add("codes", pa.table({"words": [[5, 6]], "view": ["phash"], "image_id": [2], "run_id": [number]}))
        assert store.sql("SELECT words FROM codes ORDER BY image_id")["words"].to_pylist() == [[1, 2**64 - 1], [3, 4], [5, 6]]
        score = {"image_id": [0], "view": ["phash"], "score": ["margin"], "value": [1.5], "p_value": np.array([np.nan])}
        store.add("scores", score)
        assert store.sql("SELECT value, p_value, q_value, run_id FROM scores").to_pylist() == [
            {"value": 1.5, "p_value": None, "q_value": None, "run_id": number}
        ]
        assert store.sql("SELECT frame, blank, \"group\" FROM images WHERE name = 'a'").to_pylist() == [
            {"frame": 0, "blank": [], "group": None}
        ]
        store.finish_run(number)


def test_add_after_a_run_is_kept_at_once(file: Path) -> None:
    with Store.open(file) as store:
        store.add("labels", {"run_id": [1], "image_id": [2], "used": [True]})
        with pytest.raises(ValueError, match="missing: \\['run_id'\\]"):
            store.add("labels", {"image_id": [2], "used": [True]})
        with pytest.raises(ValueError, match="there is no run 7"):
            store.add("labels", {"run_id": [7], "image_id": [2], "used": [True]})
    with Store.open(file, read_only=True) as store:
        assert count(store, "labels") == 1


def test_rows_of_a_run_are_replaced_in_all_tables_or_in_none(file: Path) -> None:
    with Store.open(file) as store:
        write_run(store)
        one = {"method": ["a"], "metric": ["f1"], "value": [0.5]}
        store.add("metrics", {"run_id": [2], **one})
        labels = {"image_id": [2], "used": [True]}
        for value in (0.6, 0.7):
            store.replace(1, {"metrics": one | {"value": [value]}, "labels": labels})
        for wrong in ({"used": [None]}, {"colour": [1]}):
            with pytest.raises((StoreError, ValueError)):
                store.replace(1, {"metrics": one, "labels": labels | wrong})
        for table, run in (("runs", 1), ("nope", 1), ("metrics", 7)):
            with pytest.raises(ValueError, match="there is no"):
                store.replace(run, {table: one})
    with Store.open(file, read_only=True) as store:
        assert store.sql("SELECT run_id, value FROM metrics ORDER BY 1")["value"].to_pylist() == [0.7, 0.5]
        assert count(store, "labels") == 1
        assert count(store, "runs") == 2


def test_older_decisions_are_turned_so_that_larger_speaks_for_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "sql"
    shutil.copytree(SQL, old)
    for path in (old / "migrations").glob("*.sql"):
        if path.name > "0003":
            path.unlink()
    monkeypatch.setattr(query.database.store, "SQL", old)
    monkeypatch.setattr(query.database.store, "_CHECKS", {})  # those of today ask tables of today
    with Store.open(tmp_path / "old.duckdb") as store:
        number = write_run(store)
        store.add("decisions", {"run_id": [number], "image_id": [2], "method": ["phash"], "value": [40.0], "threshold": [50.0]})
    monkeypatch.undo()
    with Store.open(tmp_path / "old.duckdb") as store:
        rows = store.sql("SELECT value, threshold, role FROM decisions").to_pylist()
    assert rows == [{"value": -40.0, "threshold": -50.0, "role": "unlabelled"}]


def test_add_refuses_unknown_tables_and_columns() -> None:
    with Store.open(":memory:") as store:
        store.begin_run(RUN, [VIEW])
        for table in ("nope", "runs", "run_views", "schema_version", "nearest_source", 'images"; DROP TABLE images; --'):
            with pytest.raises(ValueError, match="there is no table"):
                store.add(table, {"run_id": [1]})
        with pytest.raises(ValueError, match=r"unknown: \['weight'\]"):
            store.add("images", images() | {"weight": [1, 2, 3]})
        with pytest.raises(ValueError, match=r"missing: \['used'\]"):
            store.add("labels", {"image_id": [1]})
        with pytest.raises(ValueError, match="length"):
            store.add("labels", {"image_id": [1, 2], "used": [True]})


@pytest.mark.parametrize("wrong", [{"neighbour_id": -1}, {"query_role": "fake"}, {"rank": 0}, {"distance": None}])
def test_a_row_against_the_schema_is_refused(wrong: dict[str, object], file: Path) -> None:
    with Store.open(file) as store:
        number = store.begin_run(RUN, [VIEW])
        store.add("images", images())
        with pytest.raises(StoreError, match="onstraint"):
            store.add("neighbours", neighbour(**wrong))
        with pytest.raises(ValueError, match="not open"):
            store.finish_run(number)
        assert count(store, "runs") == 1
        assert write_run(store) == 2


@pytest.mark.parametrize(
    ("table", "rows", "message"),
    [
        ("images", images("abd") | {"role": ["real"] * 3, "name": ["x", "y", "z"]}, "3 image ids occur twice"),
        ("images", images("abc") | {"image_id": [3, 4, 5]}, "3 image names occur twice in one role"),
        ("neighbours", neighbour(neighbour_id=7), "1 neighbours lack an image"),
        ("neighbours", neighbour(neighbour_id=1), "1 neighbours lack an image of the right role"),
        ("neighbours", {name: value * 2 for name, value in neighbour().items()}, "1 neighbours occur twice at one rank"),
        ("distances", {"view": ["v"], "real_id": [0], "generated_id": [2], "distance": [1.0]}, "1 distances lack an image"),
    ],
)
def test_a_run_that_contradicts_itself_is_not_kept(table: str, rows: dict[str, object], message: str, file: Path) -> None:
    with Store.open(file) as store:
        number = store.begin_run(RUN, [VIEW])
        store.add("images", images())
        store.add(table, rows)
        with pytest.raises(StoreError, match=message):
            store.finish_run(number)
        assert count(store, "runs") == 1


def test_only_the_open_run_can_be_finished(file: Path) -> None:
    with Store.open(file) as store:
        with pytest.raises(ValueError, match="run 1 is not open"):
            store.finish_run(1)
        number = store.begin_run(RUN, [])
        with pytest.raises(ValueError, match="run 1 is not open, expected 2"):
            store.finish_run(1)
        store.finish_run(number)
        assert count(store, "runs") == 2


def test_a_run_is_validated() -> None:
    with pytest.raises(ValueError, match="k must be positive, got 0"):
        Run("c", 0, False, "r", "g", 1, 1)
    with pytest.raises(ValueError, match="some"):
        Run("c", 1, False, "r", "g", 1, 1, distances="some")  # type: ignore[arg-type]


def test_exports_hold_the_rows(tmp_path: Path) -> None:
    query_text = (
        "SELECT 1 AS i, 'a,\"ü\"' AS text, ['x', 'y'] AS list, 'nan'::DOUBLE AS number, (SELECT sum(7)) AS total, "
        "TIMESTAMP '2026-01-02 03:04:05' AS at UNION ALL SELECT 2, NULL, NULL, 0.5, NULL, NULL ORDER BY i"
    )
    with Store.open(":memory:") as store:
        assert [store.export(query_text, tmp_path / f"t.{suffix}") for suffix in ("csv", "parquet", "json", "JSON")] == [2] * 4
        assert store.export("SELECT 1 AS i WHERE false", tmp_path / "none.json") == 0
    rows = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    first = {"i": 1, "text": 'a,"ü"', "list": ["x", "y"], "number": None, "total": 7, "at": "2026-01-02T03:04:05"}
    assert rows == [first, {"i": 2, "text": None, "list": None, "number": 0.5, "total": None, "at": None}]
    assert json.loads((tmp_path / "none.json").read_text()) == []
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as lines:
        table = list(csv.DictReader(lines))
    assert [(row["i"], row["text"], row["list"]) for row in table] == [("1", 'a,"ü"', '["x", "y"]'), ("2", "", "")]
    assert pa.parquet.read_table(tmp_path / "t.parquet")["list"].to_pylist() == [["x", "y"], None]


def test_a_failed_export_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.json"
    path.write_text("old")
    monkeypatch.setattr(query.database.store, "plain", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_table(pa.table({"a": [1]}), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_export_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    for name, message in (("t.txt", "suffix must be one of .csv, .parquet, .json"), ("no/t.csv", "there is no folder")):
        with pytest.raises(StoreError, match=message):
            write_table(pa.table({"a": [1]}), tmp_path / name)


def test_an_export_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(table: pa.Table, file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(query.database.store._WRITERS, ".parquet", fill)
    with pytest.raises(StoreError, match="no space left"):
        write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(StoreError, match=f"there is no folder {tmp_path}/no; make it"):
        write_table(pa.table({"a": [1]}), tmp_path / "no" / "t.parquet")


def test_a_run_that_does_not_fit_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit of a file's size stands for a full disk: DuckDB has dropped its transaction when it is told to roll back."""
    path = tmp_path / "runs.duckdb"
    many = np.arange(400_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(StoreError) as error, Store.open(path) as store:  # noqa: PT012
        run = store.begin_run(RUN, [VIEW])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        try:
            ids = {"real_id": many, "generated_id": many}
            store.add("distances", {"view": np.repeat("v", len(many)), **ids, "distance": np.random.rand(len(many))})
            store.finish_run(run)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "rollback" not in str(error.value)
    assert "large" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_what_the_system_says_of_a_full_disk_is_one_short_line() -> None:
    note = query.database.store._reason('IO Error: Could not write file "/x": No space left on device', "runs.duckdb")
    assert note == "no space is left on the disk; make room and do it again"


def test_a_file_made_for_what_is_refused_is_removed(tmp_path: Path, file: Path) -> None:
    def refused(path: Path) -> None:
        with Store.open(path) as store:
            store.begin_run(RUN, [VIEW])
            raise StoreError("refused")

    for path in (tmp_path / "new.duckdb", file):
        with pytest.raises(StoreError, match="refused"):
            refused(path)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    with pytest.raises(StoreError, match="refused"), Store.open(tmp_path / "kept.duckdb") as store:  # noqa: PT012
        write_run(store)
        raise StoreError("refused")
    with Store.open(tmp_path / "kept.duckdb", read_only=True) as store:
        assert count(store, "runs") == 1


def test_a_database_open_to_others_is_closed_to_them_when_it_is_written(file: Path) -> None:
    file.chmod(0o644)
    with Store.open(file, read_only=True):
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
    with Store.open(file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def log_of_another_run(file: Path, folder: Path) -> Path:
    """The log that a killed writer of a copy of this database leaves: one run more."""
    copy = folder / "copy.duckdb"
    shutil.copy(file, copy)
    with other_process(copy, 'store.finish_run(store.begin_run(Run("kept", 3, False, "r", "g", 1, 1), []))') as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return copy.with_name("copy.duckdb.wal")


@pytest.mark.parametrize("suffix", LOGS)
def test_a_log_that_somebody_else_may_have_put_there_does_not_answer(file: Path, tmp_path: Path, suffix: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    forged = log_of_another_run(file, elsewhere)
    log = Path(f"{file}{suffix}")
    link = elsewhere / "link.duckdb"
    link.symlink_to(file)

    def refused() -> None:
        for path in (file, link):
            for read_only in (True, False):
                with pytest.raises(StoreError, match="somebody else may have put it") as error:
                    Store.open(path, read_only=read_only)
                assert str(log) in str(error.value)

    log.symlink_to(forged)
    refused()
    log.unlink()
    shutil.copy(forged, log)
    log.chmod(0o666)
    refused()
    if os.geteuid() == 0:
        log.chmod(0o600)
        os.chown(log, 12345, 12345)
        refused()
    log.unlink()
    if suffix == ".wal":
        shutil.copy(forged, log)
        log.chmod(0o600)
        with Store.open(file, read_only=True) as store:  # one's own, after a kill
            assert count(store, "runs") == 2
        file.unlink()
        with pytest.raises(StoreError, match="a log without its database"):
            Store.open(file)


def test_errors_name_the_database_as_it_was_named_and_no_home(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    home = str(Path.home())
    note = query.database.store._reason(f'IO Error: "{file}" and "{home}/.duckdb/x" LINE', file.name)
    assert note == f'IO Error: "{file.name}" and "~/.duckdb/x" LINE'
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(StoreError) as error:
        Store.open(file.name, read_only=True)
    assert str(file.parent) not in str(error.value)


def test_a_run_that_duckdb_has_dropped_itself_gives_the_first_error() -> None:
    with Store.open(":memory:") as store:
        run = store.begin_run(RUN, [VIEW])
        store._execute("ROLLBACK")  # as after a COMMIT onto a full disk
        with pytest.raises(StoreError, match="cannot commit"):
            store.finish_run(run)
