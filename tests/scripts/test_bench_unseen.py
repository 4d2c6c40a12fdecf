"""What scripts/bench/unseen.py counts as seen and never seen."""

from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.helpers import loading


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """scripts/bench/unseen.py as a module."""
    with loading.script("bench/unseen") as module:
        yield module


def searched(script: ModuleType, rows: list[tuple[str, int, bool]]) -> tuple[Any, dict[str, Any]]:
    """Generated images by kind, strength and whether the nearest real image is their source, each of another of 9 patients."""
    sources = [[number % 9] for number in range(len(rows))]
    nearest = np.array([[own[0] if right else 9] for own, (_, _, right) in zip(sources, rows, strict=True)])
    kind, strength = (np.array([row[place] for row in rows]) for place in (0, 1))
    first, none = np.array([own[0] for own in sources]), np.zeros(10, bool)
    groups = np.array([f"p{own[0]}" for own in sources])
    truth = script.Truth(sources, first, kind, strength, groups, none, np.arange(10).astype(str))
    result = SimpleNamespace(generated=SimpleNamespace(rows=nearest))
    return truth, {"resnet": result}


def test_kinds_count_alike_and_heavy_warps_only_in_their_rows(script: ModuleType) -> None:
    rows = [("warp", 1, True)] * 30 + [("warp", 5, False)] * 30 + [("crop", 2, False)] * 10
    rows += [("swirl", 1, True)] * 10 + [("edges", 1, False)] * 30
    made = script.table(*searched(script, rows))
    values = {name: cells["resnet"][0] for name, cells in made.items()}
    assert values == {"seen": 0.5, "never seen": 0.5, "warp 1": 1, "warp 5": 0, "crop": 0, "swirl": 1, "edges": 0}
    assert list(made)[:2] == ["seen", "never seen"]
    assert "| swirl | 1.000 (" in script.told(made)
