"""The commands attribute and submit --task 2025-2: from folders to the file of the task."""

import csv
import json
import stat
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from embeddings.phantoms.slices import copy_of
from indexer.build.build import build
from query.cli.group import program
from tests.helpers.making import slice_of, write_image, write_images
from tests.helpers.toy import TOY


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subsets of real slices, copies of them in folders called alike and in one called unknown, and a run over all."""
    folder = tmp_path_factory.mktemp("attribute")
    for subset, first in (("t1", 100), ("t2", 200)):
        write_images(folder / "real" / subset, range(first, first + 8))
        for number in range(8):
            copy = copy_of(slice_of(first + number), 1, np.random.default_rng(number))
            place = folder / "made" / (subset if number < 6 else "unknown")
            place.mkdir(parents=True, exist_ok=True)
            write_image(place / f"generated_{first + number}.png", copy)
    (folder / "made" / "unknown" / "generated_999.png").write_bytes(b"no picture")
    build(folder / "g", folder / "made", settings=TOY)
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [*map(str, arguments)])


@pytest.fixture(scope="module")
def done(world: Path) -> Result:
    groups = ("--groups", r"(\d+)\.png", "--device", "cpu", "--match", "0")
    asked = ("--subsets", "folder", "--labels", "folder", "--csv", world / "a.csv", "--json")
    return run("attribute", world / "real", world / "g", "--db", world / "a.duckdb", *groups, *asked)


def test_attribute_says_each_image_and_how_good_that_is(world: Path, done: Result) -> None:
    assert done.exit_code == 3  # a file could not be read
    result = json.loads(done.stdout)
    assert result["calibrated"] is True
    assert list(result["evaluation"]["measures"]) == ["kappa", "accuracy", "balanced_accuracy", "log_loss"]
    assert result["evaluation"]["confusion"] == [[6, 0], [0, 6]]
    with open(world / "a.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["subset"] for row in rows] == [image["subset"] for image in result["images"]]
    assert stat.S_IMODE((world / "a.csv").stat().st_mode) == 0o600
    assert [float(row["p_t1"]) + float(row["p_t2"]) for row in rows] == pytest.approx([1.0] * len(rows))


def test_the_file_of_the_task_answers_for_every_unlabelled_image(world: Path, done: Result) -> None:
    assert done.exit_code == 3
    asked = ("submit", "--db", world / "a.duckdb", "--task", "2025-2", "--out", world / "run.csv")
    assert "attribute has no answer for 1 of 5 images (generated_999); choose one with --undecided SUBSET" in run(*asked).stderr
    assert run(*asked, "--undecided", "t1").exit_code == 0
    wanted = {"generated_106": "t1", "generated_107": "t1", "generated_206": "t2", "generated_207": "t2", "generated_999": "t1"}
    assert (world / "run.csv").read_text() == "".join(f"{name},{subset}\n" for name, subset in wanted.items())
    check = ("submit", "--check", world / "run.csv", "--ids", world / "a.duckdb", "--task", "2025-2")
    assert run(*check).exit_code == 0
    (world / "bad.csv").write_text((world / "run.csv").read_text().replace("generated_106,t1", "generated_106,t3"))
    bad = run("submit", "--check", world / "bad.csv", "--ids", world / "a.duckdb", "--task", "2025-2")
    assert bad.exit_code == 1
    assert "line 1: score must be t1 or t2, got 't3'" in bad.stdout


def test_names_header_and_separator_can_be_adapted(world: Path, done: Result) -> None:
    assert done.exit_code == 3
    form = ("--names", "file", "--header", "image;subset", "--separator", "semicolon", "--task", "2025-2")
    out = world / "adapted.csv"
    assert run("submit", "--db", world / "a.duckdb", "--undecided", "t2", "--out", out, *form).exit_code == 0
    lines = out.read_text().splitlines()
    assert lines[:2] == ["image;subset", "generated_106.png;t1"]
    assert run("submit", "--check", out, "--ids", world / "a.duckdb", *form).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--task", "2025-2", "--method", "fusion"), "give --out FILE and no --method"),
        (("--task", "2025-1"), "give --method NAME and --out FILE"),
        (("--task", "2025-2", "--undecided", "t9"), "--undecided 't9' is no subset; there are t1, t2"),
        (("--task", "2024-1", "--method", "fusion", "--undecided", "t1"), "--undecided is yes or no"),
    ],
)
def test_what_does_not_fit_the_task_is_refused(world: Path, done: Result, arguments: tuple[str, ...], says: str) -> None:
    assert done.exit_code == 3
    refused = run("submit", "--db", world / "a.duckdb", "--out", world / "x.csv", *arguments)
    assert refused.exit_code == 2
    assert says in refused.stderr
