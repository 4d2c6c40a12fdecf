"""The command leakage with several generated sets: answer, database, report, and mistakes in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from embeddings.phantoms.slices import copy_of
from indexer.build.build import build
from query.cli.group import program
from query.database.database import Database
from query.leakage import leakage as single
from query.leakage import sets
from tests.helpers.making import QUICK, slice_of, write_image, write_images
from tests.helpers.toy import TOY

COPIES = 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DRAWS": 2, "DEALS": 10, "SPLITS": 2, "HALVES": 4, "DEAL_DRAWS": 1, "HALF_DRAWS": 1}.items():
        monkeypatch.setattr(sets, name, value)
    monkeypatch.setattr(single, "HALVES", 20)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of training and hold-out slices, and collections of two sets: `copies` holds copies, `plain` does not."""
    folder = tmp_path_factory.mktemp("world")
    for name, seeds in (("training", range(100, 116)), ("held", range(200, 216)), ("plain", range(300, 324))):
        write_images(folder / name, seeds)
    write_images(folder / "copies", range(400, 404))
    for number in range(COPIES):
        copied = copy_of(slice_of(100 + number % 16), 1, np.random.default_rng(number))
        write_image(folder / "copies" / f"{number}.png", copied)
    for name in ("plain", "copies"):
        build(folder / f"{name}.c", folder / name, settings=TOY)
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, ["leakage", *map(str, arguments), "--device", "cpu"])


def test_the_answer_the_database_and_the_report_agree(world: Path, tmp_path: Path) -> None:
    db, out = tmp_path / "r.duckdb", tmp_path / "report"
    arguments = [world / "training", world / "held", f"A={world / 'plain.c'}", f"B={world / 'copies.c'}"]
    done = run(*arguments, "--db", db, "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["answer"][-1].startswith("B leaks more than A by ")
    assert told["runs"] == {"A": 1, "B": 2}
    assert sorted(path.name for path in out.iterdir()) == ["differences.png", "figures.csv", "report.html", "report.json"]
    assert json.loads((out / "report.json").read_text())["figures"] == told["figures"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.duckdb", "r.hold-out", "r.training", "report"]
    known = {(row["set"], row["view"], row["figure"]): row for row in told["figures"] if row["value"] is not None}
    with Database(db, read_only=True) as opened:
        for number in (1, 2):
            rows = opened.analyse("sets", run=number).to_pylist()
            recorded = {(row["set"], row["view"], row["figure"]): row for row in rows}
            assert {key for key in recorded if key[2] not in ("p_value", "share_low")} == set(known)
            for key, row in known.items():
                for column in ("value", "difference", "difference_low"):
                    assert recorded[key][column] == pytest.approx(row[column]), (key, column)
        runs = opened.sql("SELECT command, real_images, generated_images FROM runs ORDER BY run_id").to_pylist()
    assert [tuple(row.values()) for row in runs] == [("leakage", 16, 24), ("leakage", 16, 24)]


def test_one_set_has_a_run_and_a_report_with_the_same_numbers(world: Path, tmp_path: Path) -> None:
    db, out = tmp_path / "r.duckdb", tmp_path / "report"
    done = run(world / "training", world / "held", f"B={world / 'copies.c'}", "--db", db, "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    told, written = json.loads(done.stdout), json.loads((out / "report.json").read_text())
    assert told["runs"] == {"B": 1}
    assert sorted(path.name for path in out.iterdir()) == ["figures.csv", "report.html", "report.json"]
    assert told["answer"].startswith("evidence of leakage in the generated images")
    assert written["answer"][0].startswith("B leaks: at least ")
    with Database(db, read_only=True) as opened:
        recorded = {(row["view"], row["figure"]): row for row in opened.analyse("sets").to_pylist()}
    rows = {(row["view"], row["figure"]): row for row in written["figures"]}
    for view, figures in told["views"].items():
        for figure, known in figures.items():
            if known["value"] is not None:
                assert rows[view, figure]["value"] == known["value"] == pytest.approx(recorded[view, figure]["value"])
    assert rows["combined", "copies"]["value"] == recorded["combined", "copies"]["value"] > 0
    assert all(row["difference"] is None for row in (*recorded.values(), *rows.values()))
    page = (out / "report.html").read_text()
    assert "Training-data leakage of B" in page
    assert "B - B" not in page


def test_text_has_the_answer_first_and_calls_nothing_safe(world: Path) -> None:
    done = run(world / "training", world / "held", world / "plain.c", world / "copies.c", "-q")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(("plain.c leaks: ", "plain.c: no evidence of leakage was found ("))
    assert done.stdout.splitlines()[2].startswith("copies.c leaks more than plain.c by ")
    assert "24 generated images of each set at a time (plain.c: 24 images; copies.c: 24 images)" in done.stdout
    assert not {"equal", "safe"} & set(done.stdout.lower().split())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["plain.c", "plain.c"], "two sets are named 'plain.c'; name them by NAME=FOLDER, such as A="),
        (["plain.c", "copies"], "some sets are collections and some are not"),
        (["training=plain.c", "copies.c"], "cannot name a set; write NAME=FOLDER"),
        (["plain.c", "--primary", "memorised_excess"], "--primary is for several generated sets"),
        (["plain.c", "nowhere"], "nowhere: no such file or folder"),
        (["plain.c", "copies.c", "--out", "held"], "held is not empty; name a new folder"),
    ],
)
def test_mistakes_are_told_in_one_line(
    world: Path, arguments: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    done = run("training", "held", *arguments, "-q")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert complaint in line


def test_sets_fitted_on_different_images_are_refused(world: Path, tmp_path: Path) -> None:
    for name in ("plain", "copies"):
        build(tmp_path / name, world / name, settings=QUICK)
    done = run(world / "training", world / "held", tmp_path / "plain", tmp_path / "copies", "-q")
    assert done.exit_code == 2
    assert "were fitted on different images, which favours one of them; name the folders of their images instead" in done.stderr


@pytest.mark.slow
def test_folders_are_fitted_alike_and_reused(world: Path, tmp_path: Path) -> None:
    arguments = [world / "training", world / "held", f"A={world / 'plain'}", f"B={world / 'copies'}", "--work", tmp_path / "w"]
    first, again = run(*arguments, "--json"), run(*arguments, "--json")
    assert first.exit_code == 0, first.stderr
    assert first.stdout == again.stdout
    kept = sorted(path.name for path in (tmp_path / "w").iterdir())
    assert kept == ["leakage.fitted", "leakage.hold-out", "leakage.set-1", "leakage.set-2", "leakage.training"]
