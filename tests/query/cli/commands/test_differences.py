"""The command differences: folders of audits, databases with numbers of runs, and mistakes in one line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from query.cli.group import program
from query.database.store import Store
from tests.helpers.recorded_sets import Recorded


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `a` of an audit, and a database with two runs, the second against other real images."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "a").mkdir()
    for path, runs in (
        (folder / "a" / "synthtrace.duckdb", [Recorded(called=range(10))]),
        (folder / "b.duckdb", [Recorded(called=()), Recorded(real=range(2, 26))]),
    ):
        with Store.open(path) as store:
            for each in runs:
                each.add(store)
    return folder


def run(world: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.chdir(world)
    return CliRunner().invoke(program, ["differences", *arguments])


def test_the_answer_comes_first_and_json_has_it(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, again = (run(world, monkeypatch, "A=a", "B=b.duckdb:1") for _ in range(2))
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("Less was found in B than in A, by 83.3 percentage points (95% ")
    assert done.stdout == again.stdout
    told = json.loads(run(world, monkeypatch, "A=a", "B=b.duckdb:1", "--json").stdout)
    assert " ".join(told["answer"][0].split()) in " ".join(done.stdout.split())
    assert [each["run"] for each in told["sets"]] == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["A=a", "B=b.duckdb"], "the runs of A and B are against different real images (4 images are in one of them only)"),
        (["A=a", "b.duckdb"], "'b.duckdb' names no run; write NAME=DB or NAME=DB:RUN"),
        (["A=a", "A=b.duckdb"], "two runs have one name"),
        (["A=a", "B=b.duckdb:7"], "b.duckdb holds no run 7; it holds 1, 2"),
        (["A=a", "B=nowhere.duckdb"], "nowhere.duckdb"),
        (["A=a"], "at least two runs are needed"),
    ],
)
def test_mistakes_are_told_in_one_line(
    world: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
) -> None:
    done = run(world, monkeypatch, *arguments)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert complaint in line
