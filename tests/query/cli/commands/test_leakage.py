"""The commands leakage and filter: what they say and write, their exit codes, and that a mistake gets one line."""

import csv
import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner, Result

from embeddings.phantoms.slices import copy_of
from embeddings.views.registry import _REGISTERED, Registered
from indexer.build.build import Settings, build
from indexer.manifest import CollectionError
from query.cli.group import program
from query.cli.inputs import named_as_given
from query.cli.output.leakage import leakage_sentence
from query.comparison.combined import COMBINED
from query.leakage import leakage
from query.leakage.leakage import PRIMARY, Leakage
from query.membership.set_test import SetTest
from query.quality import estimate
from query.quality.figures import Figure as Fidelity
from tests.helpers.making import slice_of, write_image, write_images
from tests.helpers.toy import TOY, Toy

COPIES, OTHERS = 12, 20


class Resnet(Toy):
    """The toy view in the place of the network, which takes a second to load."""

    name = "resnet"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of training, hold-out and generated slices, 12 of these copies; and the generated ones as a collection."""
    folder = tmp_path_factory.mktemp("world")
    for name, seeds in (
        ("training", range(100, 116)),
        ("held", range(200, 216)),
        ("generated", range(300, 300 + COPIES + OTHERS)),
    ):
        write_images(folder / name, seeds)
    for number in range(COPIES):
        write_image(
            folder / "generated" / f"{300 + number}.png", copy_of(slice_of(100 + number), 1, np.random.default_rng(number))
        )
    build(folder / "g", folder / "generated", settings=TOY)
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [*map(str, arguments)])


def filtered(world: Path, *arguments: object) -> Result:
    return run("filter", world / "training", world / "g", "--device", "cpu", *arguments)


def result(done: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_filter_writes_a_list_and_links_and_a_database(world: Path, tmp_path: Path) -> None:
    out, listed, db = tmp_path / "kept", tmp_path / "d.csv", tmp_path / "f.duckdb"
    done = filtered(world, "--hold-out", world / "held", "--risk", 0.1, "--out", out, "--list", listed, "--db", db, "--json")
    assert done.exit_code == 1, done.stderr  # something is withheld
    found = result(done)
    assert found["withheld"] >= COPIES - 2
    assert found["kept"] + found["withheld"] == COPIES + OTHERS
    assert found["linked"] == found["kept"] == len(list(out.iterdir()))
    decisions = [line.split(",")[:2] for line in listed.read_text().splitlines()[1:]]
    assert sorted(name for name, decision in decisions if decision == "keep") == sorted(path.name for path in out.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "f.duckdb", "f.hold-out", "f.training", "kept"]
    with duckdb.connect(str(db), read_only=True) as connection:
        kept = connection.execute("SELECT command, real_images, generated_images FROM runs").fetchall()
        figure = "SELECT value FROM metrics WHERE method = 'leakage after filter: combined' AND metric = 'nearer_to_training'"
        (value,) = connection.execute(figure).fetchone() or (None,)
        decided = connection.execute(
            """SELECT g.name, d.decision, round(d.score, 3), r.name FROM release_decisions AS d
            JOIN images AS g ON g.run_id = d.run_id AND g.image_id = d.image_id AND g.role = 'generated'
            JOIN images AS r ON r.run_id = d.run_id AND r.image_id = d.nearest_id AND r.role = 'real' ORDER BY d.image_id"""
        ).fetchall()
        labels = connection.execute("SELECT used, count(*) FROM labels GROUP BY used").fetchall()
        assert connection.execute("SELECT DISTINCT risk FROM release_decisions").fetchall() == [(0.1,)]
        rates = connection.execute("SELECT attack, rate, patients FROM attacks ORDER BY ALL").fetchall()
    singled = [("singling_out", rate, 16) for rate in ("baseline", "control", "main", "risk")]
    assert rates == [("linkability", None, None), *singled]  # no patient has two images
    with open(listed, newline="") as file:
        rows = [(r["generated"], r["decision"], round(float(r["score"]), 3), r["nearest_training"]) for r in csv.DictReader(file)]
    assert decided == [(*row[:2], pytest.approx(row[2], abs=2e-3), row[3]) for row in rows]
    assert kept == [("filter", 16, COPIES + OTHERS)]
    assert labels == [(True, 16)]  # the real side is the training set
    assert value == pytest.approx(found["leakage"]["after"]["views"][COMBINED]["nearer_to_training"]["value"])


def test_filter_says_counts_and_no_names(world: Path, tmp_path: Path) -> None:
    done = filtered(world, "--hold-out", world / "held", "--risk", 0.1, "--list", tmp_path / "d.csv")
    assert done.exit_code == 1
    assert f"{COPIES + OTHERS} generated images: keep " in done.stdout
    assert "calibrated so that about 10% would be withheld" in done.stdout
    assert "memorised_excess" in done.stdout
    assert ".png" not in done.stdout
    assert "safe" not in done.stdout


def test_nothing_withheld_ends_well(world: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    for seed in range(200, 216):  # copies of hold-out images: nothing comes so near to training images
        write_image(tmp_path / "others" / f"{seed}.png", copy_of(slice_of(seed), 1, np.random.default_rng(seed)))
    build(tmp_path / "c", tmp_path / "others", settings=TOY)
    options = ["--hold-out", world / "held", "--risk", 0.001, "--list", tmp_path / "d.csv"]
    done = run("filter", world / "training", tmp_path / "c", *options)
    assert done.exit_code == 0, done.stdout
    assert "withhold 0" in done.stdout


def test_without_hold_out_images_it_says_what_is_not_known(world: Path, tmp_path: Path) -> None:
    done = filtered(world, "--list", tmp_path / "d.csv")
    assert done.exit_code == 1
    assert "uncalibrated: " in done.stdout
    assert "cannot be measured without --hold-out" in done.stdout


def test_unreadable_images_give_exit_code_3(world: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "held", range(200, 216))
    (tmp_path / "held" / "bad.png").write_bytes(b"no image")
    done = filtered(world, "--hold-out", tmp_path / "held", "--list", tmp_path / "d.csv", "--json")
    assert done.exit_code == 3
    assert "cannot read " in done.stderr
    assert result(done)["failed"] == 1


def test_leakage_compares_three_sets(world: Path, tmp_path: Path) -> None:
    options = [world / "training", world / "held", world / "g", "--device", "cpu", "--work", tmp_path / "w"]
    done = run("leakage", *options, "--json")
    assert done.exit_code == 0, done.stderr
    found = result(done)
    assert (found["training"], found["hold_out"], found["compared"], found["failed"]) == (16, 16, 16, 0)
    assert found["views"][COMBINED]["nearer_to_training"]["value"] > 0.55
    assert (found["evidence"], found["test"]["training_patients"], found["test"]["hold_out_patients"]) == (True, 16, 16)
    assert found["test"]["p_value"] <= 0.05
    assert found["views"]["phash"]["dcr_5_training"]["value"] < found["views"]["phash"]["dcr_5_hold_out"]["value"]
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == ["leakage.hold-out", "leakage.training"]
    lines = run("leakage", *options).stdout.splitlines()
    assert "of leakage" in lines[0]
    assert lines[4].split() == ["expected", "phash", "toy", "combined"]
    assert lines[6].split()[:2] == ["nearer_to_training", "0.5"]


def test_groups_on_both_sides_are_refused_in_one_line(world: Path, tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("image,group\n100.png,p\n200.png,p\n")
    done = run("leakage", world / "training", world / "held", world / "g", "--groups", tmp_path / "groups.csv", "-q")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("synthtrace: error: 1 patient has hold-out and training images: 'p'.")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "give --list or --out"),
        (["--list", "no/d.csv"], "there is no folder no"),
        (["--out", "full"], "full is not empty"),
        (["--out", "no/kept"], "there is no folder no"),
        (["--list", "d.csv", "--risk", "0"], "is not in the range"),
        (["--list", "d.csv", "--risk", "1"], "is not in the range"),
        (["--list", "d.csv", "--link", "copy"], "is not one of"),
        (["--list", "d.csv", "--hold-out", "none"], "none: no such file or folder"),
        (["--list", "d.csv", "--groups", "("], "not a regular expression"),
    ],
)
def test_a_mistake_gets_one_line_before_any_work(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "full", [1])
    done = filtered(world, *options)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("synthtrace: error: ")
    assert complaint in line
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


NAN = float("nan")


@pytest.mark.parametrize(
    ("test", "note"),
    [
        (
            SetTest(0.004, 0.12, 90, 8),
            "training patients lie nearer to them than hold-out patients (p = 0.004, 90 training patients",
        ),
        (SetTest(0.004, 0.12, 90, 8), "; with 95% confidence at least 12% of the training patients left a trace"),
        (SetTest(0.4, 0.0, 90, 8), "no evidence of leakage was found in it (p = 0.40, 90 training patients against 8 hold-out"),
        (SetTest(0.4, 0.0, 90, 8), "that does not show that there is none"),
        (SetTest(NAN, NAN, 90, 1), "cannot be tested with so few patients (90 training patients against 1 hold-out patient)"),
        (SetTest(0.1, 0.0, 3, 2), "cannot be tested with so few patients"),  # of ten ways to deal them out
    ],
)
def test_what_is_said_of_the_test(test: SetTest, note: str) -> None:
    assert note in leakage_sentence(Leakage(test, {}, 9, 9, 9, 9), "it")


def test_an_error_about_a_temporary_collection_names_what_it_is_made_of(world: Path, tmp_path: Path) -> None:
    """Nobody knows the temporary folder, and when the line is read it is gone."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no image")
    other = build(tmp_path / "other", world / "held", settings=TOY)
    unlike, empty = (world / "training", other.folder, world / "generated"), (tmp_path / "broken", world / "held", world / "g")
    for arguments in (unlike, empty):
        done = run("leakage", *arguments, "--device", "cpu")
        assert done.exit_code == 2
        assert "synthtrace-temporary" not in done.stderr, done.stderr
    named = {"/tmp/x/leakage.generated": "generated/"}
    with pytest.raises(CollectionError, match=r"^the collection of generated/ and b cannot be compared$"), named_as_given(named):
        raise CollectionError("/tmp/x/leakage.generated and b cannot be compared")


def test_fidelity_stands_beside_leakage_and_what_the_filter_keeps(world: Path, tmp_path: Path) -> None:
    view = Registered({}, lambda options, decoding, device: Resnet(decoding), learns=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_REGISTERED, "resnet", view)
        patch.setattr(estimate, "HALVES", 4)
        patch.setattr(leakage, "HALVES", 4)
        settings = Settings(views={"phash": {}, "resnet": {}})
        build(tmp_path / "g", world / "generated", settings=settings)
        sides = world / "training", tmp_path / "g"
        alone = result(run("fidelity", *sides, "--k", 3, "--json"))
        assert alone["figures"].keys() == {"real", "generated", "generated - real"}
        assert (alone["reference"], alone["k"], alone["leakage"]) == ("halves of the real images", 3, {})
        done = run("fidelity", *sides, "--hold-out", world / "held")
        assert "how private" in done.stdout
        assert [line.split()[0] for line in done.stdout.splitlines()[4:12]] == [*map(str, Fidelity), *map(str, PRIMARY)]
        options = ["--hold-out", world / "held", "--risk", 0.1, "--list", tmp_path / "d.csv", "--json"]
        found = result(run("filter", *sides, *options))["fidelity"]
        assert found["figures"].keys() >= {"real", "generated", "kept", "kept - generated"}
        assert found["leakage"]["memorised_excess"].keys() == {"real", "generated", "kept"}
        assert found["images"] == min(16, len([row for row in (tmp_path / "d.csv").read_text().splitlines() if ",keep," in row]))


@pytest.mark.slow  # loads PyTorch
def test_weights_that_are_not_there_are_not_downloaded(world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    done = run("fidelity", world / "training", world / "generated", "--resnet-weights", "imagenet")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "no weights are downloaded here; fetch https://download.pytorch.org/models/resnet18" in line


def test_a_collection_without_the_view_is_told(world: Path) -> None:
    done = run("fidelity", world / "training", world / "g")
    assert done.exit_code == 2
    assert "it was indexed without view resnet; index it again with --view resnet" in done.stderr
