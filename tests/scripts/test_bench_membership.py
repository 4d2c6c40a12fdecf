"""The benchmark of membership methods, on tiny procedural sets."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers import loading


@pytest.fixture(scope="module")
def membership() -> Iterator[ModuleType]:
    """scripts/bench/membership.py as a module."""
    with loading.script("bench/membership") as module:
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
