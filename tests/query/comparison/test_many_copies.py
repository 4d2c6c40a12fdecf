"""Many copies of one image: they never hide it in the combined view, whatever else they do to distances."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from query.comparison.all_pairs import Wanted, all_pairs_of
from query.comparison.combined import COMBINED
from query.comparison.reductions.sides import ViewVectors
from tests.helpers import sides as helper
from tests.helpers.sides import at_random

REALS, GENERATED = 60, 120
COUNTS = (1, 2, 5, 21, 40, 60, 90, 110, 119)

Views = dict[str, ViewVectors]


def near(rng: np.random.Generator, vector: NDArray[Any], count: int) -> NDArray[Any]:
    """Vectors not far from this one: some bits turned, or a little noise."""
    if vector.dtype == np.uint8:
        return np.asarray(np.packbits(rng.random((count, 8 * len(vector))) < 0.01, axis=1) ^ vector)
    moved = vector + rng.normal(scale=0.05, size=(count, len(vector)))
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)


def with_copies(views: Views, source: int, count: int, duplicates: int, seed: int, exact: bool) -> Views:
    """The first `count` generated images are copies of a real one, of which there are so many duplicates after it."""
    made = {}
    for name, view in views.items():
        real, generated = view.real.copy(), view.generated.copy()
        real[source + 1 : source + 1 + duplicates] = real[source]
        copies = near(np.random.default_rng(seed), real[source], len(generated))
        generated[:count] = real[source] if exact else copies[:count]
        made[name] = replace(view, real=real, generated=generated)
    return made


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directions as far apart as those of real images: copies are 8 standard deviations nearer than others."""
    monkeypatch.setattr(helper, "DIMENSIONS", 64)


def combined_of(views: Views) -> NDArray[np.float32]:
    return all_pairs_of(views, Wanted(1, distances=True)).distances[COMBINED]


def ranks(seed: int, duplicates: int, exact: bool) -> list[tuple[int, int]]:
    """Place of the first copy's pair with its source: among all real images' nearest, and among the pairs of the copy."""
    views = at_random(np.random.default_rng(seed), REALS, GENERATED)
    source = 7
    others = [row for row in range(REALS) if not source < row <= source + duplicates]
    found = []
    for count in COUNTS:
        distances = combined_of(with_copies(views, source, count, duplicates, seed, exact))[others]
        pair = distances[source, 0]
        found.append(
            (
                1 + int((distances.min(axis=1) < pair)[np.arange(len(others)) != source].sum()),
                1 + int((distances[:, 0] < pair).sum()),
            )
        )
    return found


@pytest.mark.parametrize("duplicates", [0, 9])
@pytest.mark.parametrize("seed", range(4))
def test_byte_copies_come_first_however_many_there_are(seed: int, duplicates: int) -> None:
    assert ranks(seed, duplicates, exact=True) == [(1, 1)] * len(COUNTS)


@pytest.mark.parametrize("duplicates", [0, 9])
@pytest.mark.parametrize("seed", range(4))
def test_more_near_copies_never_lower_a_rank(seed: int, duplicates: int) -> None:
    found = ranks(seed, duplicates, exact=False)
    for few, many in pairwise(found):
        assert many[0] <= few[0]
        assert many[1] <= few[1]
