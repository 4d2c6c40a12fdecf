"""The benchmarks run, at a size where their figures mean nothing, and print every line that they promise."""

import os
import re
import subprocess
import sys

import pytest

from tests.helpers.places import ROOT

RANGE = r"\S+ \(\S+ to \S+\)"  # median and range


def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, ROOT / "scripts" / script, *options], env=environment, capture_output=True, text=True)


def output(script: str, *options: str) -> str:
    """What a benchmark prints; it must find all results equal."""
    done = run(script, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_search() -> None:
    printed = output("bench/search.py", "--small", "300", "--codes", "2000", "--queries", "20", "--repeats", "1")
    for metric in ("hamming", "cosine"):
        assert re.search(rf"^{metric}, 20 queries on 300: \S+ ms .* times as long; distances equal$", printed, re.M)
    assert re.search(r"^hamming, 20 queries on 2,000: .* billion codes/s$", printed, re.M)
    assert re.search(r"^  limit, popcount: .*; the search reaches \d+% of it$", printed, re.M)


@pytest.mark.slow
def test_index() -> None:
    printed = output("bench/index.py", "--count", "80", "--rounds", "1", "--loop", "5")
    kernels = re.findall(r"^  (\w+): .*; taken: (.+)$", printed, re.M)
    assert [name for name, _ in kernels] == ["decode", "phash", "sift", "resnet", "pixels"]
    assert re.search(rf"^whole / sum of kernels: {RANGE}$", printed, re.M)
    assert re.search(rf"^resnet: \S+ GFLOP an image; share of the \w+ peak: {RANGE}$", printed, re.M)
    times = re.findall(rf"^(\w+): \S+ ms an image, {RANGE} times as fast as the plain way$", printed, re.M)
    assert times == ["phash", "resnet", "pixels", "sift", "search", "whole"]
    assert "100.00% of the loop's codes are equal" in printed
    if sys.platform == "linux":
        assert re.search(r"^memory with four times as many images / with one time: \S+$", printed, re.M)


@pytest.mark.parametrize(
    ("script", "options", "complaint"),
    [
        ("bench/index.py", ["--parts", "speed"], "there is no part 'speed'"),
        ("bench/index.py", ["--rounds", "0"], "must be positive"),
        ("bench/index.py", ["nowhere"], "nowhere: no such file or folder"),
        ("bench/search.py", ["--codes", "0"], "must be positive"),
    ],
)
def test_bad_input_is_refused_in_one_line(script: str, options: list[str], complaint: str) -> None:
    done = run(script, *options)
    assert done.returncode == 2
    assert complaint in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
