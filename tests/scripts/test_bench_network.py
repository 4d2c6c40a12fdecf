"""scripts/bench/network.py runs, at a size where its figures mean nothing, and measures what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from embeddings.views.network import copy_network, save_copy_network
from query.benchmarks.benchmark import BenchmarkSettings, Kind, write_benchmark
from tests.helpers.places import ROOT


@pytest.mark.slow
def test_every_way_is_measured_and_full_precision_compared(tmp_path: Path) -> None:
    write_benchmark(
        tmp_path / "b", BenchmarkSettings(generated=80, used=6, unused=6, kinds=(Kind.WARP, Kind.BLEND), seed=3), workers=1
    )
    module = copy_network(1)
    save_copy_network(module, tmp_path / "w.safetensors", {})
    torch.save({"mean": {f"module.{name}": value for name, value in module.state_dict().items()}}, tmp_path / "state.pt")
    script, weights = ROOT / "scripts" / "bench/network.py", tmp_path / "w.safetensors"
    command: list[str | Path] = [
        sys.executable,
        script,
        weights,
        tmp_path / "b",
        "--sizes",
        "32,48",
        "--state",
        tmp_path / "state.pt",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    *rows, last = done.stdout.splitlines()
    assert len(rows) == 2 * 3 * 7
    means = [float(row.split(" all ")[1].split()[0]) for row in rows]
    assert means == sorted(means, reverse=True)
    share = re.fullmatch(r"first hits that full precision changes: (\S+)% in float32, (\S+)% in bfloat16", last)
    assert share is not None
    assert float(share[1]) < 3
    assert float(share[2]) < 20  # of random weights many first hits are near ties


@pytest.mark.slow
def test_weights_and_state_of_two_trainings_are_not_compared(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "b", BenchmarkSettings(generated=64, used=3, unused=3, kinds=(Kind.WARP,), seed=3), workers=1)
    save_copy_network(copy_network(1), tmp_path / "w.safetensors", {})
    torch.save({"mean": {f"module.{name}": value for name, value in copy_network(2).state_dict().items()}}, tmp_path / "s.pt")
    script, weights = ROOT / "scripts" / "bench/network.py", tmp_path / "w.safetensors"
    command: list[str | Path] = [sys.executable, script, weights, tmp_path / "b", "--sizes", "32", "--state", tmp_path / "s.pt"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "does not come from" in done.stderr.splitlines()[-1]
