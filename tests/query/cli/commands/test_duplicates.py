"""The commands duplicates and leaky-splits: what they write and print, exit codes, and that a mistake gets one line."""

import csv
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from indexer.collection import Collection
from query.cli.group import program


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [*map(str, arguments)])


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_duplicates_writes_tables_and_a_sheet(repeated_collection: Collection, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("duplicates", repeated_collection.folder, "--out", out, "--max", "5", "-q")
    assert result.exit_code == 1, result.output  # six images repeat another one
    assert {path.name for path in out.iterdir()} == {"groups.csv", "duplicates.json", "groups.png"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600}
    assert [row["keep"] for row in rows(out / "groups.csv")].count("1") == 4
    assert json.loads((out / "duplicates.json").read_text())["repeated"] == 6
    assert (
        "23 images: 6 repeat another one (1 the same file, 1 the same pixels, 4 near-duplicates), in 4 groups." in result.output
    )
    assert max(map(len, result.output.splitlines())) < 250


def test_exit_codes_and_json(repeated_collection: Collection) -> None:
    result = run("duplicates", repeated_collection.folder, "--max", "6", "--json", "-q")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["groups"]) == 4


def test_leaky_splits_writes_what_to_drop(split_collections: dict[str, Collection], tmp_path: Path) -> None:
    folders = [collection.folder for collection in split_collections.values()]
    out = tmp_path / "out"
    result = run("leaky-splits", *folders, "--out", out, "--drop-from", "train.collection", "-q")
    assert result.exit_code == 0, result.output
    assert [row["image"] for row in rows(out / "drop.csv")] == ["001.png", "002.png"]
    assert {row["kind"] for row in rows(out / "pairs.csv")} == {"file", "near"}
    assert rows(out / "patients.csv") == []
    assert (out / "pairs.png").exists()
    assert "To drop: 2 images (2 of 10 from train.collection)." in result.output
    assert run("leaky-splits", *folders, "--max", "1", "-q").exit_code == 1


def test_splits_of_one_folder(splits: Path) -> None:
    result = run("leaky-splits", splits, "--splits", "folders", "--view", "phash")
    assert result.exit_code == 2  # there is no --view
    table = splits.parent / "none.csv"
    result = run("leaky-splits", splits / "train", "--splits", table)
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert f"{table}: No such file or directory" in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["duplicates", "nowhere"], "nowhere"),
        (["leaky-splits", "one"], "give two folders or more, or one with --splits"),
        (["leaky-splits", "one", "two", "--splits", "folders"], "give two folders or more, or one with --splits"),
        (["leaky-splits", "one", "one"], "the same folder is given twice"),
        (["duplicates", "nowhere", "--groups", "("], "not a regular expression"),
    ],
)
def test_a_mistake_gets_one_line(arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert told in result.output


def test_duplicates_are_stored(repeated_collection: Collection, tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    found = run("duplicates", repeated_collection.folder, "--against", repeated_collection.folder, "--db", db, "--json", "-q")
    assert found.exit_code == 0, found.output
    values = json.loads(found.stdout)
    assert values["search"] == 1
    rows = json.loads(run("sql", "--db", db, "duplicates", "--format", "json").stdout)
    assert {row["group_id"]: row["image"] for row in rows if row["keep"]} == {
        group["group"]: group["centre"] for group in values["groups"]
    }
    told = {
        (row["like_image"], row["image"]): (row["kind"], row["inliers"], row["phash_distance"]) for row in rows if not row["keep"]
    }
    pairs = [pair for group in values["groups"] for pair in group["pairs"]]
    assert told == {(p["first"], p["second"]): (p["kind"], p["inliers"], p["distances"]["phash"]) for p in pairs}
    (search,) = json.loads(run("sql", "--db", db, "searches", "--format", "json").stdout)
    assert (search["images"], search["repeated"], search["groups"], search["run"]) == (23, 6, 4, None)
    figures = json.loads(run("sql", "--db", db, "diversity", "--format", "json").stdout)
    assert {(each["figure"], each["view"]): each["value"] for each in figures} == {
        (each["figure"], each["view"]): each["estimate"]["value"] for each in values["diversity"]
    }
    assert all(each["real_value"] == each["value"] for each in figures)
    report = run("report", db)
    assert (report.exit_code, report.output.count("\n")) == (2, 1)
    assert "holds no run yet" in report.output


def test_a_database_of_no_use_is_refused_at_once(repeated_collection: Collection, tmp_path: Path) -> None:
    (tmp_path / "no.duckdb").write_text("not a database")
    result = run("duplicates", repeated_collection.folder, "--db", tmp_path / "no.duckdb")
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "not a DuckDB file" in result.output
