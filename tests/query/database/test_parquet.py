"""Rows in Parquet files: the same answers as from tables, whole or absent, at their place or missed, closed to other SQL."""

import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from query.cli.group import program
from query.cli.output.info import database_info
from query.database import parquet, store
from query.database.parquet import IDS, replace_database
from query.database.store import Kept, Run, RunView, Store, StoreError
from query.service.backend.snapshot import Snapshots
from query.service.backend.sql import queries
from tests.helpers.places import ROOT
from tests.helpers.statements import FOLDER
from tests.query.database.test_sql import GENERATED, REAL, K, make_truth, write_run

ALL = [Kept.ALL, Kept.HISTOGRAM]


def written(path: Path, above: int, kept: list[Kept] = ALL) -> Path:
    """A database of synthetic runs of 30 generated and 8 real images."""
    with Store.open(path, parquet_above=above) as store:
        for each in kept:
            write_run(store, make_truth(), each)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs in tables."""
    return written(tmp_path_factory.mktemp("plain") / "results.duckdb", GENERATED)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same two runs with Parquet files."""
    return written(tmp_path_factory.mktemp("made") / "results.duckdb", GENERATED - 1)


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A copy of that, to do something to."""
    shutil.copytree(made.parent, tmp_path / "own")
    return tmp_path / "own" / made.name


def parquet_files(db: Path) -> dict[str, bytes]:
    folder = db.with_suffix(".tables")
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_table_and_view_says_the_same(plain: Path, made: Path) -> None:
    with Store.open(plain, read_only=True) as one, Store.open(made, read_only=True) as other:
        assert one.tables() == other.tables()
        views = one.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal")["view_name"].to_pylist()
        for table in (*one.tables(), *views):
            if table != "parquet_files":
                without = "* EXCLUDE (created)" if table in ("runs", "latest_run", "duplicate_searches") else "*"
                query = f'SELECT {without} FROM "{table}" ORDER BY ALL'
                assert one.sql(query).equals(other.sql(query)), table
                assert one.sql(f'DESCRIBE "{table}"')["column_type"].equals(other.sql(f'DESCRIBE "{table}"')["column_type"])


def test_every_analysis_says_the_same(plain: Path, made: Path) -> None:
    with Store.open(plain, read_only=True) as one, Store.open(made, read_only=True) as other:
        for name, analysis in Store.analyses().items():
            for run in ({"run": 1}, {}) if "run" in analysis.parameters else ({},):
                expected, found = one.analyse(name, **run), other.analyse(name, **run)
                columns = [column for column in expected.column_names if column != "created"]
                assert found.select(columns).equals(expected.select(columns)), name


def test_files_hold_what_is_of_generated_images_in_its_order_and_nothing_else(plain: Path, made: Path) -> None:
    with Store.open(plain, read_only=True) as one, Store.open(made, read_only=True) as other:
        for table, column in IDS.items():
            rows = f'SELECT * EXCLUDE (run_id) FROM "{table}" WHERE run_id = 1 AND "{column}" < {GENERATED}'
            expected = one.sql(rows)  # in the order in which rows were added
            paths = [file.place(other.folder) for file in other.parquet_files if file.table_name == table and file.run_id == 1]
            assert bool(paths) == (len(expected) > 0)
            found = [pq.read_table(path, partitioning=None).to_pylist() for path in paths]
            assert [row for rows in found for row in rows] == expected.to_pylist(), table
            assert other.sql(rows).to_pylist() == expected.to_pylist(), table
            kept = other.sql(f'SELECT min("{column}") AS least FROM "{table}_table"')["least"][0].as_py()
            assert kept is None or kept >= GENERATED, "rows of generated images are nowhere twice"


def test_two_writings_give_the_same_bytes(made: Path, tmp_path: Path) -> None:
    assert parquet_files(written(tmp_path / "results.duckdb", 0)) == parquet_files(made)


def test_a_table_may_take_several_files(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "FILE_ROWS", 1)
    path = written(tmp_path / "results.duckdb", 0, [Kept.HISTOGRAM])
    with Store.open(path, read_only=True) as other, Store.open(plain, read_only=True) as one:
        names = [Path(file.path).name for file in other.parquet_files if file.table_name == "neighbours"]
        assert names == ["000000.parquet", "000001.parquet"]
        query = "SELECT * EXCLUDE (run_id) FROM neighbours WHERE run_id = $run"
        assert other.sql(query, {"run": 1}).sort_by("query_id").equals(one.sql(query, {"run": 2}).sort_by("query_id"))


@pytest.mark.slow
def test_runs_of_both_kinds_stand_in_one_database(plain: Path, tmp_path: Path) -> None:
    path = written(written(tmp_path / "results.duckdb", GENERATED, ALL), 0, ALL[:1])
    written(path, GENERATED, ALL[1:])
    with Store.open(path, read_only=True) as store, Store.open(plain, read_only=True) as one:
        assert {file.run_id for file in store.parquet_files} == {3}
        for table in IDS:
            query = f'SELECT * EXCLUDE (run_id) FROM "{table}" WHERE run_id = $run ORDER BY ALL'
            for run, like in ((1, 1), (2, 2), (3, 1), (4, 2)):
                assert store.sql(query, {"run": run}).equals(one.sql(query, {"run": like})), (table, run)


def test_files_are_closed_to_others_and_to_writing_and_name_no_patient(made: Path) -> None:
    folder = made.with_suffix(".tables")
    entries = list(folder.rglob("*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in entries if path.is_file()} == {0o400}
    assert {stat.S_IMODE(path.stat().st_mode) for path in [folder, *entries] if path.is_dir()} == {0o700}
    names = {part for path in entries for part in path.relative_to(folder).parts if part not in IDS}
    assert all(name.removesuffix(".parquet").removeprefix("run_id=").isalnum() for name in names)


def test_files_are_read_by_older_clients_features(made: Path) -> None:
    """What DuckDB 1.1 does not read: a page of version 2, or an encoding newer than these."""
    for path in made.with_suffix(".tables").rglob("*.parquet"):
        content = pq.ParquetFile(path).metadata
        columns = [content.row_group(0).column(number) for number in range(content.num_columns)]
        assert {column.compression for column in columns} == {"ZSTD"}
        assert {encoding for column in columns for encoding in column.encodings} <= {
            "PLAIN", "RLE", "RLE_DICTIONARY", "DELTA_BINARY_PACKED",
        }  # fmt: skip


# Whole or absent


def neighbours_of(run: int) -> str:
    return f"SELECT count(*) AS n FROM neighbours WHERE run_id = {run}"


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {root!r})
    from query.database import store
    from query.database.parquet import ParquetRun
    from tests.query.database.test_parquet import written, ALL
    from pathlib import Path
    def die(*_): os.kill(os.getpid(), signal.SIGKILL)
    {kill}
    written(Path({db!r}), 0, ALL[:1])
"""
KILLS = {
    "while rows are added": "ParquetRun.put_in_place = die",
    "before files are moved": "ParquetRun._move = die",
    "before the run is committed": "store.Store._finish_parquet = lambda self, run: die(run.put_in_place())",
    "after the run is committed": "ParquetRun.keep = die",
}


@pytest.mark.slow
@pytest.mark.parametrize("when", KILLS)
def test_a_killed_run_leaves_nothing_to_see_and_is_cleared_away(when: str, own: Path) -> None:
    before = parquet_files(own)
    program = textwrap.dedent(KILLED).format(root=str(ROOT), kill=KILLS[when], db=str(own))
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    whole = when == "after the run is committed"
    with Store.open(own, read_only=True) as store:
        assert store.sql(neighbours_of(3))["n"].to_pylist() == [2 * GENERATED * K + 2 * REAL * K if whole else 0]
        assert len(store.sql("SELECT run_id FROM runs")) == 2 + whole
    assert parquet_files(own).keys() > before.keys()
    written(own, 0, ALL[:1])
    with Store.open(own, read_only=True) as store:
        assert {file.path.partition("/")[2] for file in store.parquet_files} == parquet_files(own).keys(), "and no others"
        assert len(store.sql("SELECT run_id FROM runs")) == 3 + whole


def test_a_run_that_contradicts_itself_leaves_no_files(own: Path) -> None:
    before = parquet_files(own)
    row: dict[str, list[Any]] = {
        "query_id": [0],
        "query_role": ["generated"],
        "view": ["phash"],
        "rank": [1],
        "distance": [1.0],
        "mirrored": [False],
    }
    with Store.open(own, parquet_above=0) as store:
        number = store.begin_run(Run("c", 1, False, "r", "g", 1, 1), [])
        store.add("neighbours", {**row, "neighbour_id": [7]})
        with pytest.raises(StoreError, match="1 neighbours lack an image"):
            store.finish_run(number)
        assert parquet_files(own) == before
        for wrong, told in (({"neighbour_id": [-1]}, "neighbour_id >= 0"), ({"neighbour_id": [None]}, "IS NOT NULL")):
            store.begin_run(Run("c", 1, False, "r", "g", 1, 1), [])
            with pytest.raises(StoreError, match=told):
                store.add("neighbours", {**row, **wrong})
        store.begin_run(Run("c", 1, False, "r", "g", 1, 1), [])
        with pytest.raises(StoreError, match='"image_id" IS NOT NULL'):
            store.add("codes", {"image_id": pa.array([None], pa.int64()), "view": ["v"], "words": [[1]]})
        for batches in ([[0, 0]], [[0], [0]], [[1], [0]]):
            store.begin_run(Run("c", 1, False, "r", "g", 1, 2), [])
            with pytest.raises(StoreError, match="neighbours occur twice at one rank, or do not come in the order"):  # noqa: PT012
                for ids in batches:
                    rows = {name: values * len(ids) for name, values in row.items()}
                    store.add("neighbours", {**rows, "query_id": ids, "neighbour_id": [2] * len(ids)})
        assert store.sql("SELECT count(*) AS n FROM runs WHERE finished")["n"].to_pylist() == [2]
    assert parquet_files(own) == before
    assert sorted(path.name for path in own.with_suffix(".tables").iterdir()) == ["run_id=1", "run_id=2"]


def test_an_interrupted_run_leaves_no_files_nor_does_one_whose_folder_cannot_be_made(own: Path, tmp_path: Path) -> None:
    def interrupted() -> None:
        with Store.open(own, parquet_above=0) as store:
            number = store.begin_run(Run("c", 1, False, "r", "g", 1, 1), [])
            store.add("codes", {"image_id": [0], "view": ["phash"], "words": [[1]]})
            assert len(parquet_files(own)) > len(before)
            if number == 3:
                raise KeyboardInterrupt

    before = parquet_files(own)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert parquet_files(own) == before
    (tmp_path / "new.tables").touch()
    with (
        pytest.raises(StoreError, match=r"new\.tables cannot be written: File exists; mend that"),
        Store.open(tmp_path / "new.duckdb", parquet_above=0) as store,
    ):
        store.begin_run(Run("c", 1, False, "r", "g", 1, 1), [])
    assert not (tmp_path / "new.duckdb").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit of a file's size stands for it."""
    path = tmp_path / "results.duckdb"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    many = 200_000
    with pytest.raises(StoreError, match="too large") as error, Store.open(path, parquet_above=0) as store:  # noqa: PT012
        store.begin_run(Run("c", 1, False, "r", "g", 1, many), [RunView("v", 1, "cosine", "f")])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        try:
            values = np.random.default_rng(0).random(many)
            store.add("scores", {"image_id": np.arange(many), "view": ["v"] * many, "score": ["s"] * many, "value": values})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_rows_in_files_are_never_replaced_and_others_are(own: Path) -> None:
    with Store.open(own, parquet_above=0) as store:
        write_run(store, make_truth(), Kept.HISTOGRAM)
        score = {"image_id": [0], "view": ["phash"], "score": ["margin"], "value": [1.0]}
        for run in (1, 3):
            with pytest.raises(ValueError, match=f"rows of run {run} are in Parquet files"):
                store.replace(run, {"neighbours": {}})
        store.replace(1, {"scores": score})  # no score of a generated image was recorded
        assert store.sql("SELECT value FROM scores WHERE run_id = 1")["value"].to_pylist() == [1.0]


# At their place, or not


def test_the_folder_moves_with_the_database_and_its_name_stays(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "it's, [here] run_id=9 é"
    own.parent.rename(odd)
    renamed = (odd / own.name).rename(odd / "other name.duckdb")
    with Store.open(renamed, read_only=True) as store:
        assert len(store.analyse("nearest-source")) == 2 * GENERATED
    written(renamed, 0, ALL[:1])  # its own folder comes beside
    with Store.open(renamed, read_only=True) as store:
        assert {file.path.partition("/")[0] for file in store.parquet_files} == {"results.tables", "other_name.tables"}
        assert len(store.analyse("nearest-source")) == 2 * GENERATED
    (tmp_path / "link.duckdb").symlink_to(renamed)
    (odd / "results.tables").rename(tmp_path / "far")
    (odd / "results.tables").symlink_to(tmp_path / "far")  # on a larger disk, perhaps
    monkeypatch.chdir(tmp_path)
    with Store.open("link.duckdb", read_only=True) as store:
        monkeypatch.chdir("/")
        assert len(store.analyse("nearest-source", run=1)) == 2 * GENERATED
        assert database_info(tmp_path / "link.duckdb").rows["neighbours"] == len(store.sql("FROM neighbours"))


def test_a_plain_client_reads_it_from_its_folder_or_is_told_where(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.parent)
    with duckdb.connect(made.name, read_only=True) as client:
        rows = client.execute("SELECT count(*) FROM nearest_source").fetchall()
        assert rows == [(4 * GENERATED,)]
        monkeypatch.chdir("/")
        with pytest.raises(duckdb.Error, match="No files found"):
            client.execute("SELECT count(*) FROM nearest_source")
        client.execute("SET VARIABLE synthtrace_folder = $folder", {"folder": str(made.parent)})
        assert client.execute("SELECT count(*) FROM nearest_source").fetchall() == rows


def change(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b" ")


def link(path: Path) -> None:
    shutil.copy(path, path.parent.parent / "elsewhere")
    path.unlink()
    path.symlink_to(path.parent.parent / "elsewhere")


@pytest.mark.parametrize("do", [Path.unlink, change, link, lambda path: shutil.rmtree(path.parents[3])])
def test_missing_and_changed_files_are_one_line(do: object, own: Path) -> None:
    do(next(own.with_suffix(".tables").rglob("codes/*.parquet")))  # type: ignore[operator]
    for read_only in (True, False):
        with pytest.raises(StoreError) as error:
            Store.open(own, read_only=read_only)
        assert "missing or not as written; put the folder back" in str(error.value)
        assert str(own.with_suffix(".tables")) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_another_database_of_the_same_name_spoils_nothing(own: Path) -> None:
    before = parquet_files(own)
    old = own.rename(own.with_name("old.duckdb"))
    other = make_truth()
    other.distances["phash"] += 1
    with Store.open(own, parquet_above=0) as store:
        write_run(store, other, Kept.HISTOGRAM)
        write_run(store, make_truth(), Kept.HISTOGRAM)  # the very rows that the old one has
    assert parquet_files(own).items() > before.items()
    with Store.open(old, read_only=True) as store, Store.open(own, read_only=True) as new:
        query = "SELECT * FROM neighbours WHERE run_id = 2 ORDER BY ALL"
        assert store.sql(query).equals(new.sql(query))
        assert not store.sql(query.replace("2", "1")).equals(new.sql(query.replace("2", "1")))


@pytest.mark.slow
def test_a_database_is_replaced_with_its_files(own: Path, tmp_path: Path) -> None:
    truth = make_truth()
    for turn, above in enumerate((0, 0, GENERATED)):  # another run, the same again whose file was damaged, and one without files
        (tmp_path / f"{turn}").mkdir()
        with Store.open(tmp_path / f"{turn}" / own.name, parquet_above=above) as store:
            write_run(store, truth, Kept.HISTOGRAM)
        replace_database(tmp_path / f"{turn}" / own.name, own)
        with Store.open(own, read_only=True) as store:
            assert {file.path.partition("/")[2] for file in store.parquet_files} == parquet_files(own).keys()
            assert len(store.analyse("nearest-source")) == 2 * GENERATED
        if turn == 0:
            change(next(own.with_suffix(".tables").rglob("*.parquet")))
    assert not own.with_suffix(".tables").exists()


@pytest.mark.slow
def test_newer_migrations_find_tables_where_views_are(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes one that changes a large table must think of databases with Parquet files: this test then fails."""
    shutil.copytree(store.SQL, tmp_path / "sql")
    for path in (tmp_path / "sql" / "migrations").glob("*.sql"):
        if path.name > "0017":
            path.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(store, "SQL", tmp_path / "sql")
        old = written(tmp_path / "old.duckdb", 0, ALL)
    with Store.open(old):
        pass
    with Store.open(old, read_only=True) as one, Store.open(own, read_only=True) as other:
        for table in IDS:
            assert one.sql(f'SELECT * FROM "{table}" ORDER BY ALL').equals(other.sql(f'SELECT * FROM "{table}" ORDER BY ALL'))


# Closed to SQL from outside


def aimed(db: Path) -> list[str]:
    """Statements at the Parquet files and at what lies beside them."""
    tables = db.with_suffix(".tables")
    placed = {"tables": tables, "file": next(tables.rglob("images/*.parquet")), "folder": db.parent}
    lines = (FOLDER / "refused_parquet.txt").read_text(encoding="utf-8").splitlines()
    return [line.format(**placed) for line in lines if not line.startswith("# ")]


@pytest.fixture
def beside(own: Path) -> Path:
    """The database, and files beside it that SQL must not reach, by links neither."""
    secret = own.parent / "secret.parquet"
    pq.write_table(pa.table({"name": ["secret"]}), secret)
    (own.with_suffix(".tables") / "link.parquet").symlink_to(secret)
    (own.parent / "to.tables").symlink_to(own.with_suffix(".tables"))
    return own


def everything(db: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(db.parent.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("read_only", [True, False])
def test_sql_neither_reads_nor_writes_the_files_but_by_the_views(read_only: bool, beside: Path) -> None:
    with Store.open(beside, read_only=read_only) as store:
        before = everything(beside)
        for text in aimed(beside):
            with pytest.raises(StoreError) as error:
                print(text, store.sql(text))
            assert "\n" not in str(error.value)
        assert len(store.sql("FROM images")) == 2 * (GENERATED + REAL)
        assert everything(beside) == before


def test_duckdb_itself_takes_no_file_but_those_of_the_database(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "_check", lambda self, query: None)
    before = everything(beside)
    tables = beside.with_suffix(".tables")
    file = next(tables.rglob("images/*.parquet"))
    with Store.open(beside, read_only=True) as store:
        for text in (
            f"FROM read_parquet('{beside.parent}/secret.parquet')",
            f"FROM read_parquet('{tables}/../secret.parquet')",
            f"FROM read_parquet('{tables}/link.parquet')",
            f"FROM read_parquet('{tables}/**/*.parquet')",
            f"FROM read_blob('{beside.parent}/to.tables/link.parquet')",
            f"FROM glob('{tables}/*')",
            "FROM read_text('/etc/passwd')",
            f"COPY images TO '{file}'",
            f"COPY images TO '{file.with_name('000009.parquet')}'",
            f"COPY images TO '{tables}/new.parquet' (USE_TMP_FILE false)",
            f"COPY images TO '{beside.parent}/new.parquet'",
            f"ATTACH '{tables}/new.duckdb'",
            "SET allowed_directories = ['/']",
            "SET enable_external_access = true",
        ):
            with pytest.raises(StoreError):
                print(text, store.sql(text))
        if os.geteuid() != 0:  # root may write any file; others not what has mode 0400
            with pytest.raises(StoreError):
                store.sql(f"COPY images TO '{file}' (USE_TMP_FILE false)")
        assert len(store.sql("FROM images")) == 2 * (GENERATED + REAL)
    assert everything(beside) == before


def test_a_foreign_database_reads_nothing_by_its_views_or_its_list_of_files(own: Path) -> None:
    secret = own.parent / "secret.parquet"
    pq.write_table(pa.table({"run_id": [1], "image_id": [1]}), secret)
    for wrong in (
        f"CREATE OR REPLACE VIEW images AS SELECT * FROM read_parquet('{secret}')",
        f"CREATE OR REPLACE VIEW other AS SELECT * FROM read_parquet('{secret}')",
        "CREATE OR REPLACE VIEW images AS SELECT value AS run_id FROM duckdb_settings()",
    ):
        foreign = own.parent / "foreign.duckdb"
        shutil.copy(own, foreign)
        with duckdb.connect(str(foreign)) as client:
            client.execute(wrong)
        with Store.open(foreign, read_only=True) as store, pytest.raises(StoreError, match=r"may only read|Cannot access file"):
            print(store.sql(f"SELECT * FROM {wrong.split()[4]}"))
    for path in ("secret.parquet", "../x.tables/run_id=1/0123456789abcdef/images/000000.parquet", "/etc/passwd"):
        foreign = own.parent / "foreign.duckdb"
        shutil.copy(own, foreign)
        with duckdb.connect(str(foreign)) as client:
            client.execute("INSERT INTO parquet_files VALUES (1, 'images', $path, 1, 1, '')", {"path": path})
        with pytest.raises(StoreError, match="was not written by synthtrace"):
            Store.open(foreign, read_only=True)


# The service


@pytest.mark.slow
def test_the_service_reads_the_files_where_they_are(own: Path) -> None:
    past = own.stat().st_mtime - 60
    os.utime(own, (past, past))
    with Snapshots(own) as snapshots, snapshots.current() as snapshot:
        assert snapshot, snapshots.reason
        assert len(snapshot.store.analyse("nearest-source")) == 2 * GENERATED
        answer = json.loads(queries.ask(snapshot.store, "SELECT count(*) AS n FROM neighbours"))
        assert answer["rows"] == [[4 * (GENERATED + REAL) * K]]
        for text in (f"FROM '{next(own.with_suffix('.tables').rglob('*.parquet'))}'", "FROM read_text('/etc/passwd')"):
            with pytest.raises(StoreError, match="may only read"):
                queries.ask(snapshot.store, text)


# The command


def test_check_tells_a_damaged_file_by_its_checksum(own: Path) -> None:
    whole = CliRunner().invoke(program, ["check", str(own)])
    assert (whole.exit_code, whole.stdout) == (0, f"{own}: whole\n")
    path = next(own.with_suffix(".tables").rglob("codes/*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    damaged = CliRunner().invoke(program, ["check", str(own)])
    assert (damaged.exit_code, damaged.stdout) == (1, f"{path}: other bytes than were written\n")
    path.unlink()
    assert CliRunner().invoke(program, ["check", str(own)]).exit_code == 2
