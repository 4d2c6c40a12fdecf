"""scripts/gpu_check.py with a stand-in for the GPU: every path runs, and what does not hold is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.loading import beside_scripts, script
from tests.helpers.places import ROOT, SCRIPTS

with beside_scripts():
    from gpu_checks.machine import PEAKS, peaks


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(SCRIPTS / "gpu_check.py"), *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_every_check_holds_on_the_stand_in(tmp_path: Path) -> None:
    done = run("--stand-in", "--json", str(tmp_path / "found.json"))
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["failed"] == []
    skipped = [name for name, result in found["results"].items() if str(result).startswith("skipped")]
    assert skipped == ["indexing"]
    assert found["results"]["phash"] == "codes equal"
    assert "k 2,049, GPU 99 and BHNSW refused by name" in done.stdout
    assert "search, hamming, 3,000 rows, 40 queries, searches/s: " in done.stdout


def test_what_does_not_hold_is_told_and_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with script("gpu_check") as module:
        report = module.Report(seconds=60)

        def wrong() -> str:
            raise AssertionError("3 of 4\ncodes differ")

        def missing() -> str:
            raise ImportError("No module named 'cv2'")

        report.run("phash", wrong)
        report.run("sift", missing)
        report.run("pixels", lambda: "equal")
        report.until = 0
        report.run("late", lambda: "equal")
    assert report.failed == ["phash"]
    assert capsys.readouterr().out.splitlines() == [
        "phash: FAILED: AssertionError: 3 of 4 codes differ",
        "sift: skipped: No module named 'cv2'",
        "pixels: equal",
        "late: skipped: no time left",
    ]


def test_without_a_gpu_and_a_stand_in_there_is_one_line() -> None:
    done = run("--device", "cuda:0")
    if "PyTorch finds no GPU" not in done.stderr:
        pytest.skip("there is a GPU here")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL"),
    ],
)
def test_the_card_is_known_by_its_name(name: str, model: str) -> None:
    assert peaks(name) == (PEAKS[model][0] * 1e12, PEAKS[model][1])
    assert peaks("Tesla T4") is None
