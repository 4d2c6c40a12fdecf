"""The benchmark of membership methods and that of their evidence, on tiny procedural sets."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from query.membership.case import NOT_USED, UNKNOWN
from tests.helpers import loading
from tests.helpers.cases import planted


@pytest.fixture(scope="module")
def membership() -> Iterator[ModuleType]:
    """scripts/bench/membership.py as a module."""
    with loading.script("bench/membership") as module:
        yield module


@pytest.fixture(scope="module")
def evidence() -> Iterator[ModuleType]:
    """scripts/bench/evidence.py as a module."""
    with loading.script("bench/evidence") as module:
        yield module


@pytest.mark.slow
def test_methods_are_fitted_on_one_benchmark_and_judged_on_another(
    membership: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--sizes", "40", "12", "60", "10", "--level", "all-copied", "--method", "fusion", "--method", "phash-calibrated"]
    assert membership.main(["--work", str(tmp_path / "work"), *options, "--json", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())["figures"]["all-copied"]
    assert found["methods"]["fusion"]["auroc"][0] > 0.95  # every used image is copied six times
    assert sum(found["methods"]["fusion"]["counts"].values()) == 20
    assert found["all_used"] == [0.5, pytest.approx(2 / 3)]
    assert "| fusion | - |" in capsys.readouterr().out
    sources = [set(folder_sources(tmp_path / "work" / f"all-copied-{part}")) for part in ("dev", "test")]
    assert not sources[0] & sources[1]


def folder_sources(benchmark: Path) -> list[str]:
    """Source of each real image."""
    return [line.split(",")[3] for line in (benchmark / "truth_real.csv").read_text().splitlines()[1:]]


def test_a_missing_pair_is_one_line(membership: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert membership.main(["--work", str(tmp_path / "work"), "--pair", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.startswith("bench/membership.py: ")


@pytest.mark.slow
def test_p_values_without_a_leak_are_counted(evidence: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "REFERENCE", 14)
    monkeypatch.setattr(evidence, "UNLABELLED", 10)
    options = ["--part", "null", "--seeds", "2", "--generated", "30", "--json", str(tmp_path / "out.json")]
    monkeypatch.setattr(evidence, "HIDDEN", 20)
    assert evidence.main(["--work", str(tmp_path / "work"), *options]) == 0
    found = json.loads((tmp_path / "out.json").read_text())["figures"]["null"]
    assert len(found["shares"]) == 2
    assert found["attainable"] == 0  # fourteen reference images give no p-value of 0.05
    assert found["shares"] == [0, 0]
    assert list((tmp_path / "work").iterdir()) == []


def test_reference_takes_whole_groups(evidence: ModuleType) -> None:
    case, _ = planted(used=150, unused=150, groups=3)
    used = np.repeat([True, False], 150)
    groups = np.arange(300) // 3
    made = evidence.Made(replace(case, groups=groups), used, used)
    with_labels, asked = evidence.with_reference(made)
    known = with_labels.used == NOT_USED
    assert 80 <= known.sum() < 83
    assert not set(groups[known]) & set(groups[asked])
    assert (with_labels.used[used] == UNKNOWN).all()
    assert sorted([*np.flatnonzero(known), *asked]) == list(range(150, 300))
