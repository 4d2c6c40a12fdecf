"""The benchmark of evidence: what it draws, and a small run of each part."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from embeddings.phantoms.slices import phantom
from query.membership.case import NOT_USED, UNKNOWN
from tests.helpers import loading


@pytest.fixture(scope="module")
def evidence() -> Iterator[ModuleType]:
    """scripts/bench/evidence.py as a module."""
    with loading.script("bench/evidence") as module:
        yield module


def test_sides_follow_their_law(evidence: ModuleType) -> None:
    drawn = evidence.drawn_vectors(evidence.Law(10, 4, 6, 3), 0.2, 0.5, 1)
    case = drawn.case
    assert np.bincount(case.groups).tolist() == [4] * 10 + [3] * 6
    assert (case.used == np.where(case.groups >= 10, NOT_USED, UNKNOWN)).all()
    assert np.bincount(case.groups[drawn.used], minlength=16).tolist().count(2) == 2  # half the slices of every fifth patient
    assert drawn.used.sum() == 4
    assert len(case.generated) == 3 * 4 + 300


def test_a_patient_s_slices_are_alike(evidence: ModuleType) -> None:
    """Otherwise nothing that the benchmark measures of unequal groups would be at stake."""
    case = evidence.drawn_vectors(evidence.Law(20, 5, 20, 5), 0.0, 1.0, 2).case
    near = case.real.vectors["pixels"] @ case.real.vectors["pixels"].T
    same = case.groups[:, None] == case.groups[None]
    np.fill_diagonal(near, np.nan)
    assert np.nanmean(near[same]) > np.nanmean(near[~same]) + 0.1


def test_small_run(evidence: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "LAWS", (evidence.Law(12, 1, 12, 2),))
    out = tmp_path / "out.json"
    assert evidence.main(["--part", "groups", "--part", "used", "--draws", "3", "--json", str(out)]) == 0
    found = json.loads(out.read_text())["figures"]
    assert set(found["groups"]) == set(found["used"]) == {"12 x 1 against 12 x 2"}
    assert found["groups"]["12 x 1 against 12 x 2"]["draws"] == 3


def test_slices_need_their_options(evidence: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert evidence.main(["--part", "slices", "--draws", "2"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "bench/evidence.py: part slices needs --from, --groups and --work"


@pytest.mark.slow
def test_real_slices(evidence: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "OF_SLICES", (evidence.Law(5, 1, 5, 2),))
    folder = tmp_path / "slices"
    folder.mkdir()
    rows = ["image,group"]
    for number in range(24):
        cv2.imwrite(str(folder / f"{number:02}.png"), phantom(number // 2, sibling=number % 2))
        rows.append(f"{number:02}.png,p{number // 2}")
    (tmp_path / "groups.csv").write_text("\n".join(rows) + "\n")
    given = ["--from", str(folder), "--groups", str(tmp_path / "groups.csv"), "--work", str(tmp_path / "work")]
    assert evidence.main(["--part", "slices", "--draws", "2", *given, "--json", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())["figures"]["slices"]
    assert found["null"]["5 x 1 against 5 x 2"]["draws"] == 2
