"""The commands evaluate and submit: what they print, write and return."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from indexer.build.build import build
from query.cli.group import program
from query.database.store import Store
from tests.helpers.membership_cases import IMAGES, NAMES, USED, VALUES, begin, decide, write_reals
from tests.helpers.toy import TOY


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "runs.duckdb"
    write_reals(tmp_path / "real")
    with Store.open(path) as store:
        begin(store, tmp_path / "real", labels=False)
        for name, values in VALUES.items():
            decide(store, 1, name, values, role="unlabelled")
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text("image,used\n" + "".join(f"{Path(name).stem},{int(used)}\n" for name, used in zip(NAMES, USED, strict=True)))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def test_evaluate_judges_writes_and_says(database: Path, truth: Path, tmp_path: Path) -> None:
    result = run("evaluate", "--db", database, "--labels", truth, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["methods"]["good"]["images"] == IMAGES
    assert all(Path(path).exists() for path in facts["files"])
    text = run("evaluate", "--db", database, "--labels", truth, "--method", "good").stdout
    assert "20 used" in text.replace("images known to be ", "")
    assert "blind" not in text


def test_kappa_comes_first_for_the_tasks_of_2024_and_2025(database: Path, truth: Path) -> None:
    asked = ("evaluate", "--db", database, "--labels", truth)
    plain, kappa = (run(*asked, *task).stdout for task in ((), ("--task", "2025-1")))
    assert "Cohen's kappa [95% by groups]" not in plain
    assert kappa.index("Cohen's kappa [95% by groups]") < kappa.index("AUROC (chance 0.50)")
    found = json.loads(run(*asked, "--task", "2024-1", "--json").stdout)
    assert found["first"] == "kappa"
    rows = kappa.split("Cohen's kappa")[1].splitlines()[3:]
    values = [float(row.split()[1]) for row in rows[: len(found["methods"])]]
    assert values == sorted(values, reverse=True)


def test_a_collection_may_be_named_for_the_pixels(database: Path, truth: Path, tmp_path: Path) -> None:
    build(tmp_path / "real.collection", str(tmp_path / "real"), settings=TOY)
    options = ("--db", database, "--labels", truth, "--controls", "--method", "blind", "--json")
    found = json.loads(run("evaluate", *options, "--real", tmp_path / "real.collection").stdout)
    assert found["controls"]["grey-levels"]["area"]["value"] > 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "--db", "none.duckdb"], "none.duckdb: there is no such file"),
        (["evaluate", "--db", "DATABASE"], "give them with --labels"),
        (["evaluate", "--recompute", "--controls"], "leave the other options out"),
        (["evaluate", "--recompute", "none.csv"], "none.csv: No such file or directory"),
        (["submit", "--db", "DATABASE", "--method", "good"], "give --method NAME and --out FILE"),
        (["submit", "--db", "DATABASE", "--method", "cnn", "--out", "x.csv"], "no decisions of 'cnn'"),
        (["submit", "--check", "DATABASE"], "--check FILE and --ids FILE"),
        (["submit", "--check", "DATABASE", "--ids", "DATABASE", "--method", "good"], "neither --method"),
    ],
)
def test_mistakes_end_in_one_line(
    arguments: list[str], message: str, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*(str(database) if argument == "DATABASE" else argument for argument in arguments))
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "none.duckdb").exists()


def test_recompute_finds_the_row_that_cannot_be(tmp_path: Path) -> None:
    result = run("evaluate", "--recompute")
    assert result.exit_code == 1
    assert "1 of 6 published rows cannot be as printed" in result.stdout
    (tmp_path / "own.csv").write_text("name,tp,tn,fp,fn,f1\nmine,1,1,1,1,0.50\n")
    good = run("evaluate", "--recompute", tmp_path / "own.csv", "--json")
    assert good.exit_code == 0
    (cell,) = json.loads(good.stdout)["rows"][0]["cells"]
    assert cell == {"figure": "f1", "printed": "0.50", "recomputed": 0.5, "fit": "follows"}


def test_what_submit_writes_passes_its_check(database: Path, tmp_path: Path) -> None:
    written = run("submit", "--db", database, "--method", "good", "--out", tmp_path / "run.csv")
    assert written.exit_code == 0, written.stderr
    assert f"{IMAGES} images" in written.stdout
    lines = (tmp_path / "run.csv").read_text().splitlines()
    assert lines[0] == f"real_unknown_0001,{int(VALUES['good'][0] >= 1)}"
    good = run("submit", "--check", tmp_path / "run.csv", "--ids", database)
    assert (good.exit_code, "no fault" in good.stdout) == (0, True)
    (tmp_path / "run.csv").write_text("\n".join([*lines[1:], lines[1]]))
    bad = run("submit", "--check", tmp_path / "run.csv", "--ids", database, "--json")
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["faults"] == [
        "line 40: id 'real_unknown_0002' again, it stands in line 1 already",
        "missing id 'real_unknown_0001'",
    ]
