"""The command train: what it says, its exit codes, and that what it writes can be used."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from embeddings.views.network import copy_network, save_copy_network
from query.benchmarks import fine_tuning
from query.benchmarks.fine_tuning import Tuning
from query.cli.commands.index import training_text
from query.cli.group import program
from query.evaluation.resampling import Estimate
from tests.helpers.making import noise, write_image
from tests.helpers.places import ROOT


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    (folder / "images").mkdir()
    for number in range(205):
        write_image(folder / "images" / f"{number:03d}.png", noise(number))
    save_copy_network(copy_network(0), folder / "start.safetensors", {})
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, ["train", *map(str, arguments)])


# Small pictures, and few to measure on: what the command line does not offer.
SMALL = {"size": 32, "generated": 50}
SMALL_MAIN = f"""
from dataclasses import replace
from query.benchmarks import fine_tuning
from query.cli.main import main

tune = fine_tuning.tune
fine_tuning.tune = lambda task, settings, **options: tune(task, replace(settings, **{SMALL}), **options)
main()
"""


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    tune = fine_tuning.tune

    def small(task: fine_tuning.TuningTask, settings: fine_tuning.TuningSettings, **options: Any) -> Tuning:
        return tune(task, replace(settings, **SMALL), **options)

    monkeypatch.setattr(fine_tuning, "tune", small)


def test_it_trains_and_says_what_came_of_it(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    out = tmp_path / "own.safetensors"
    options = ["--start", world / "start.safetensors", "--steps", 2, "--batch", 8, "--seed", 3, "--device", "cpu"]
    result = run(world / "images", "--out", out, *options, "--groups", r"^\d+", "--json")
    assert result.exit_code == 0, result.stderr
    made = json.loads(result.stdout)
    assert made["out"] == str(out)
    assert made["images"] == {"trained": 154, "held_out": 51, "blank": 0, "unreadable": 0}
    assert made["outcome"] in ("improved", "not improved", "worse")
    assert "training: 2 of 2" in result.stderr
    assert "no groups were given" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["own.safetensors"]
    of_the_view = ["--view", "resnet", "--resnet-size", "32", "--resnet-weights", str(out)]
    used = CliRunner().invoke(program, ["index", str(world / "images"), "--out", str(tmp_path / "c"), *of_the_view])
    assert used.exit_code == 0, used.stderr


def test_unreadable_images_give_exit_code_3(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = replace(tuned(0.1, 0.05, 0.2), failed=[("images/bad.png", "the file is empty")])
    monkeypatch.setattr(fine_tuning, "tune", lambda *_, **__: found)
    result = run(world / "images", "--out", tmp_path / "a.safetensors")
    assert result.exit_code == 3
    assert "cannot read images/bad.png: the file is empty" in result.stderr


def tuned(value: float, low: float, high: float, start: str = "bundled") -> Tuning:
    counts, row = {"all": 5, "warp 1": 5}, {"all": 0.5, "warp 1": 0.5, "AUROC of d1": 0.75}
    after = {**row, "all": 0.5 + value}
    return Tuning(Path("own.safetensors"), start, (150, 50), (80, 20), 0, [], counts, row, after, Estimate(value, low, high, 20))


def test_improved_weights_are_recommended() -> None:
    lines = training_text(tuned(0.1, 0.05, 0.2)).splitlines()
    assert lines[-2] == "improved: first hits changed by +10.0 points [95% by groups +5.0 to +20.0]"
    assert lines[-1] == "give it to index or audit: --resnet-weights own.safetensors"
    assert any(line.split() == ["all", "5", "0.500", "0.600"] for line in lines)
    assert any(line.split() == ["AUROC", "of", "d1", "0.750", "0.750"] for line in lines)


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ((0.1, -0.05, 0.2), "not improved: first hits changed by +10.0 points [95% by groups -5.0 to +20.0]"),
        ((-0.1, -0.2, -0.05), "worse: first hits changed by -10.0 points [95% by groups -20.0 to -5.0]"),
        ((0.1, float("nan"), float("nan")), "not improved: first hits changed by +10.0 points"),
    ],
)
def test_else_the_old_ones_are(change: tuple[float, float, float], outcome: str) -> None:
    lines = training_text(tuned(*change)).splitlines()
    assert lines[-2] == outcome
    assert lines[-1].startswith("stay with the bundled weights;")
    assert training_text(tuned(*change, start="old.safetensors")).splitlines()[-1].startswith("stay with old.safetensors;")


def test_weights_that_did_not_improve_are_no_failure(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tuning, "tune", lambda *_, **__: tuned(-0.1, -0.2, -0.05))
    assert run(world / "images", "--out", tmp_path / "a.safetensors").exit_code == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--out", "a.pth"], "a.pth: weights are written as .safetensors"),
        (["--out", "no/a.safetensors"], "there is no folder no"),
        (["--out", "a.safetensors", "--start", "none"], "'none' does not exist"),
        (["--out", "a.safetensors", "--batch", "1"], "is not in the range"),
        (["--out", "a.safetensors", "--held-out", "1"], "is not in the range"),
        (["--out", "a.safetensors", "--window", "1,2", "--percentiles", "1,2"], "exclude each other"),
        (["--out", "a.safetensors", "--window", "1,-2"], "width positive"),
        (["--out", "a.safetensors", "--groups", "("], "not a regular expression"),
        ([], "Missing option '--out'"),
    ],
)
def test_a_mistake_gets_one_line(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(world / "images", *options)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("synthtrace: error: ")
    assert complaint in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_interrupted_it_ends_with_one_line(world: Path, tmp_path: Path) -> None:
    start: list[str | Path] = ["--start", world / "start.safetensors", "--steps", "1000", "--batch", "8", "--device", "cpu"]
    command = [sys.executable, "-c", SMALL_MAIN, "train", world / "images", "--out", tmp_path / "a.safetensors", *start]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # where tests run in the background, a shell has it ignored
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": listening}
    process = subprocess.Popen(command, text=True, env=environment, **streams)
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any(line.startswith("training: ") for line in lines)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=300)
    assert (process.returncode, out) == (130, "")
    told = [line for line in errors.splitlines() if line and not line.startswith("training: ")]
    assert told == ["synthtrace: interrupted; the same command carries on where it stopped"]
