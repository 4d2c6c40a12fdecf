"""scripts/bench/sharded.py loses no pair, and tells tables that differ from those that do not."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest

from indexer.execution.in_process import InProcess
from tests.helpers import loading


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
