"""scripts/bench/sharded.py loses no pair, and tells tables that differ from those that do not."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest

from indexer.execution.in_process import InProcess
from tests.helpers import loading
from tests.helpers.making import QUICK, write_images

FOUND = {"twin": [0, 2, 4], "worse": [3, 0, 4], "short": [0, -1, -1]}  # rows, -1 for none


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with loading.script("bench/sharded") as module:
        yield module


def test_simulated_shards_are_compared_and_timed(bench: ModuleType) -> None:
    runs = bench.simulated([1, 2], 300, InProcess())["runs"]
    assert [run["images"] for run in runs] == [300, 600]
    assert bench.exponent([10, 30, 100], [3.0, 9.0, 30.0]) == pytest.approx(1)


def test_codes_in_shards_are_scanned_as_one(bench: ModuleType) -> None:
    found = bench.codes(3, 6000, InProcess())
    assert found["mean"] == pytest.approx(128, abs=0.1)
    assert found["share"] > 0


def test_only_sums_may_differ(bench: ModuleType) -> None:
    one = pa.table({"name": ["a", "b"], "value": np.array([1.0, 2.0])})
    near, other = (one.set_column(1, "value", pa.array([1.0, value])) for value in (2.5, None))
    renamed = one.set_column(0, "name", pa.array(["a", "c"]))
    assert bench.difference("neighbours", one, one) == 0
    assert bench.difference("neighbours", one, near) == np.inf
    assert bench.difference("decisions", one, near) == 0.5
    assert bench.difference("decisions", one, other) == bench.difference("decisions", one, renamed) == np.inf


def test_recall_counts_what_is_as_near_as_the_last(bench: ModuleType) -> None:
    """Vectors at angles of 0, 1, 1, 2 and 3 tenths from the query; whoever finds the third in place of the second is right."""
    angles = np.array([0, 0.1, 0.1, 0.2, 0.3])
    stored, query = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), np.array([[1, 0]], np.float32)
    truth = bench.brute_force.neighbours(bench.Metric.COSINE, query, stored, 3)
    found = {name: bench.Neighbours(np.array([rows]), truth.distances, truth.mirrored) for name, rows in FOUND.items()}
    expected = {"twin": [1, 1, 2 / 3], "worse": [0, 0.5, 1 / 3], "short": [1, 0.5, 1 / 3]}
    for name, each in found.items():
        recalls = [bench.recall_at(k, each, truth, stored, query, ["a"]).value for k in (1, 2, 3)]
        assert recalls == pytest.approx(expected[name]), name


@pytest.mark.slow
def test_matching_is_timed_in_three_ways(bench: ModuleType, tmp_path: Path) -> None:
    if importlib.util.find_spec("ray") is None:  # not by importing it: its settings come first
        pytest.skip("Ray is not installed: synthtrace[distributed]")
    write_images(tmp_path / "made", range(24))
    write_images(tmp_path / "reals", range(20, 32))
    shards = bench.index_shards(tmp_path / "made", tmp_path / "shards", settings=QUICK, sharding=bench.Sharding(8))
    bench.index(tmp_path / "reals", tmp_path / "real", fitted_on=shards.fitted)
    found = bench.matching(tmp_path, 10, 1)
    assert found["images"] == 10 <= found["pairs"]
    assert {way: len(seconds) for way, seconds in found["seconds"].items()} == {"one thread": 1, "threads": 1, "ray": 1}
