"""What scripts/bench/filter.py counts, on a truth written by hand and on a tiny benchmark."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from query.benchmarks.benchmark import BenchmarkSettings, write_benchmark
from tests.helpers import loading


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """scripts/bench/filter.py as a module."""
    with loading.script("bench/filter") as module:
        yield module


def test_rows_are_by_kind_and_by_what_can_be_seen(tmp_path: Path, script: ModuleType) -> None:
    (tmp_path / "truth_real.csv").write_text("real,used,descendants,source,group\na,1,0,a,p\nb,0,0,b,q\nc,1,0,c,p\n")
    made = ["g1,warp,2,c", "g0,warp,1,a", "g2,warp,1,-", "g3,blend,1,-|a", "g4,blend,2,-|-", "g5,eigen,0,"]
    (tmp_path / "truth_generated.csv").write_text("\n".join(["generated,kind,strength,sources", *made]) + "\n")
    truth = script.read_truth(tmp_path)
    assert truth.rows.tolist() == ["warp 1", "warp 2", script.HIDDEN, "blend", script.HIDDEN, script.NONE]
    assert truth.groups.tolist() == ["p", "p", "alone g2", "p", "alone g4", "alone g5"]
    assert truth.used == {"a": True, "b": False, "c": True}
    rows = script.withheld_rows(truth, np.array([True, False, True, True, False, False]))
    assert list(rows) == ["warp 1", "warp 2", "blend", script.NONE, script.HIDDEN]
    assert {name: (row["images"], row["share"]) for name, row in rows.items()} == {
        "warp 1": (1, 1),
        "warp 2": (1, 0),
        "blend": (1, 1),
        script.NONE: (1, 0),
        script.HIDDEN: (2, 0.5),
    }


@pytest.mark.slow
def test_a_tiny_benchmark_is_judged(tmp_path: Path, script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    write_benchmark(tmp_path / "made", BenchmarkSettings(generated=60, used=12, unused=12, hidden=12), workers=1)
    options = ["--work", str(tmp_path / "work"), "--json", str(tmp_path / "r.json"), "--risk", "0.1"]
    script.main([str(tmp_path / "made"), *options])
    report = json.loads((tmp_path / "r.json").read_text())["figures"]["made"]
    assert sum(row["images"] for row in report["rows"].values()) == 60
    warps = [row for name, row in report["rows"].items() if name in ("warp 1", "warp 2", "warp 3")]
    assert np.average([row["share"] for row in warps], weights=[row["images"] for row in warps]) > 0.8
    shown = capsys.readouterr().out
    assert f"made: {report['withheld']} of 60 withheld at a risk of 0.1" in shown
    assert "after: memorised_excess" in shown
