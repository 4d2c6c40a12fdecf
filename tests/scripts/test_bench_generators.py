"""scripts/bench/generators.py on a generator that copies what it was trained on."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from embeddings.phantoms.slices import copy_of
from tests.helpers import loading
from tests.helpers.making import slice_of, write_image

COLUMNS = ["part", "real", "used", "source", "group"]


@pytest.fixture
def script() -> Iterator[ModuleType]:
    with loading.script("bench/generators") as module:
        yield module


def write_truth(path: Path, rows: list[tuple[str, str, int, str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


@pytest.mark.slow
def test_copies_are_found_and_splits_of_the_unused_find_nothing(tmp_path: Path, script: ModuleType) -> None:
    (tmp_path / "images").mkdir()
    rng, rows, made = np.random.default_rng(0), [], []
    for number in range(60):
        write_image(tmp_path / "images" / f"{number:02d}.png", slice_of(number))
        used = number % 3 == 0
        rows.append(("dev" if number < 30 else "test", "", int(used), f"{number:02d}.png", f"p{number}"))
        made += [copy_of(slice_of(number), 1, rng) for _ in range(3)] if used else [slice_of(500 + number)]
    np.savez(tmp_path / "model.npz", generated=np.array(made))
    write_truth(tmp_path / "model_real.csv", rows)
    write_image(tmp_path / "images" / "other.png", slice_of(900))
    write_truth(tmp_path / "model_siblings.csv", [("siblings", "", 0, "other.png", "p30")])
    options = ["--images", str(tmp_path / "images"), "--work", str(tmp_path / "work"), "--splits", "3", "--ingredients"]
    assert script.main([*options, "--json", str(tmp_path / "found.json"), str(tmp_path / "model")]) == 0
    figures = json.loads((tmp_path / "found.json").read_text())["figures"]["model"]
    assert all(each["auroc"][0] > 0.9 for name, each in figures["ingredients"].items() if "pixels" in name)
    found = figures["fusion"]
    assert found["images"] == {"used": 10, "not used": 20}
    assert found["auroc"][0] > 0.95
    assert found["auroc against siblings"][0] == 1
    assert found["set"]["p"] < 0.01
    assert found["set"]["share"] == pytest.approx(1 / 3, abs=0.01)
    assert found["splits"]["splits"] == 3
    assert found["splits"]["any_called"] == 0


def test_what_is_not_there_is_refused(tmp_path: Path, script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--images", str(tmp_path), "--work", str(tmp_path), str(tmp_path / "none")]) == 2
    assert "none.npz: no such file" in capsys.readouterr().err
