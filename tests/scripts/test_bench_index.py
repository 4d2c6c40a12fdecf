"""The benchmarks run, at a size where their figures mean nothing, and print every line that they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.loading import script
from tests.helpers.making import write_images
from tests.helpers.places import ROOT

RANGE = r"\S+ \(\S+ to \S+\)"  # median and range


def output(name: str, *options: str) -> str:
    """What a benchmark prints; it must find all results equal."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "scripts" / name), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_search() -> None:
    printed = output("bench/search.py", "--small", "300", "--codes", "2000", "--queries", "20", "--repeats", "1")
    for metric in ("hamming", "cosine"):
        assert re.search(rf"^{metric}, 20 queries on 300: \S+ ms .* times as long; distances equal$", printed, re.M)
    assert re.search(r"^hamming, 20 queries on 2,000: .* billion codes/s$", printed, re.M)
    assert re.search(r"^  limit, popcount: .*; the search reaches \d+% of it$", printed, re.M)


@pytest.mark.slow
def test_approximate() -> None:
    small = (
        "--images",
        "60",
        "--queries",
        "5",
        "--repeats",
        "1",
        "--factory",
        "IVF4,Flat;nprobe=4",
        "--binary-factory",
        "BIVF4;nprobe=4",
    )
    printed = output("bench/approximate.py", *small, "--codes", "500", "--vectors", "500")
    for metric, factories in (("hamming", ["BFlat", "BIVF4;nprobe=4"]), ("cosine", ["Flat", "IVF4,Flat;nprobe=4"])):
        found = re.findall(rf"^{metric}: factory (\S+), vectors 500, .* recall (\S+), pays after queries \S+$", printed, re.M)
        assert found == [(factory, "1.0") for factory in factories]  # all cells are looked into


def test_duplicates(tmp_path: Path) -> None:
    write_images(tmp_path, range(3))
    printed = output("bench/duplicates.py", str(tmp_path), "--python", sys.executable, "--rounds", "1")
    assert re.search(r"^  synthtrace \S+, 1.00 times as long as synthtrace$", printed, re.M)
    assert re.findall(r"^left out: (\w+): ModuleNotFoundError", printed, re.M) == ["imagededup", "fastdup"]


@pytest.mark.slow
def test_index() -> None:
    printed = output("bench/index.py", "--count", "24", "--rounds", "1", "--loop", "5")
    kernels = re.findall(r"^  (\w+): .*; taken: (.+)$", printed, re.M)
    assert [name for name, _ in kernels] == ["decode", "phash", "sift", "resnet", "pixels"]
    assert re.search(rf"^whole / sum of kernels: {RANGE}$", printed, re.M)
    assert re.search(rf"^phash alone \S+ ms an image; / its kernels, decode and phash: {RANGE}$", printed, re.M)
    assert re.search(rf"^resnet: \S+ GFLOP an image; share of the \w+ peak: {RANGE}$", printed, re.M)
    times = re.findall(rf"^(\w+): \S+ ms an image, {RANGE} times as fast as the plain way$", printed, re.M)
    assert times == ["phash", "resnet", "pixels", "sift", "search", "whole"]
    assert "100.00% of the loop's codes are equal" in printed
    if sys.platform == "linux":
        assert re.search(r"^memory with four times as many images / with one time: \S+$", printed, re.M)


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("bench/index", ["--parts", "speed"], "there is no part 'speed'"),
        ("bench/index", ["--rounds", "0"], "must be positive"),
        ("bench/index", ["nowhere"], "nowhere: no such file or folder"),
        ("bench/search", ["--codes", "0"], "must be positive"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    name: str, options: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, *options])
    with script(name) as module, pytest.raises(SystemExit, match=r"^2$"):
        sys.exit(module.main())
    assert complaint in capsys.readouterr().err.splitlines()[-1]
