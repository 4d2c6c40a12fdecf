"""scripts/train_resnet.py: a run that was stopped and gone on with ends as an undisturbed one; the best network is kept."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open

from embeddings.views.resnet import ResNet
from embeddings.views.resnet_settings import ResNetSettings
from tests.helpers import loading

PICTURES = 24


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """scripts/train_resnet.py as a module."""
    with loading.script("train_resnet") as module:
        yield module


def train(script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, marks: list[float], steps: int = 3) -> Path:
    """Train in a folder; validation gives these marks, one for each step, and stops the run where there is none left."""

    def validate(*_: object) -> dict[str, float]:
        if not marks:
            raise KeyboardInterrupt
        mark = marks.pop(0)
        return {"mean": mark, "row": mark}

    monkeypatch.setattr(script, "validation", lambda work: {})
    monkeypatch.setattr(script, "validate", validate)
    # two processes would take longer to start than to draw
    monkeypatch.setattr(script.os, "cpu_count", lambda: 1)
    out = folder / "net.safetensors"
    sizes = ["--pictures", str(PICTURES), "--batch", "4", "--sizes", "32"]
    arguments = ["--work", str(folder), "--steps", str(steps), "--every", "1", *sizes]
    assert script.main([str(out), *arguments]) == 0
    return out


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_the_best_is_kept(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = train(script, tmp_path / "whole", monkeypatch, [0.1, 0.5, 0.3])
    with pytest.raises(KeyboardInterrupt):
        train(script, tmp_path / "stopped", monkeypatch, [0.1])
    stopped = train(script, tmp_path / "stopped", monkeypatch, [0.5, 0.3])
    first, second = tensors(whole), tensors(stopped)
    assert all(torch.equal(first[name], second[name]) for name in first)
    for path in (whole, stopped):
        card: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        assert (card["step"], card["validation"]["mean"]) == (2, 0.5)
        for name in ("curve.csv", "log.csv"):
            with open(path.parent / name, newline="") as file:
                assert [row["step"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    with safe_open(whole, "pt") as file:
        assert json.loads(file.metadata()["synthtrace copies"]) == json.loads(whole.with_suffix(".json").read_text())
    assert ResNet(ResNetSettings(weights=str(whole)), {}).network.channels == 512


def test_two_siblings_of_a_patient_stand_side_by_side(script: ModuleType) -> None:
    drawn = [script.draw(number, 4) for number in range(6)]
    assert (drawn[0] == script.phantom(0, script.SIDE)).all()
    assert (drawn[3] == script.phantom(1, script.SIDE, sibling=1)).all()
    assert (drawn[5] == script.shapes(5, script.SIDE)).all()


@pytest.mark.parametrize(("asked", "sizes"), [([], ((0.4, 96), (1.0, 128))), (["--sizes", "128"], ((1.0, 128),))])
def test_sizes_and_rate_are_asked_for(script: ModuleType, asked: list[str], sizes: tuple[tuple[float, int], ...]) -> None:
    options = script.arguments(["out.safetensors", "--work", "w", "--rate", "3e-4", *asked])
    recipe = script.recipe_of(options)
    assert (recipe.sizes, recipe.rate, recipe.average) == (sizes, 3e-4, 0.998)


def test_pictures_have_more_pixels_than_the_network_sees(script: ModuleType) -> None:
    """A window of 70% of the side is not enlarged."""
    recipe = script.recipe_of(script.arguments(["out.safetensors", "--work", "w"]))
    assert recipe.sizes[-1][1] < 0.7 * script.SIDE


def test_sizes_that_cannot_be(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("16", "96,128,160", "large"):
        with pytest.raises(SystemExit):
            script.arguments(["out.safetensors", "--work", "w", "--sizes", wrong])
        assert "--sizes" in capsys.readouterr().err
