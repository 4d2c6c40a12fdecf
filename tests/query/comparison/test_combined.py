"""The combined view of pairs at distance 0."""

import numpy as np
import pytest
from numpy.typing import NDArray

from query.comparison.bulk import Moments, Scale
from query.comparison.combined import IDENTICAL, Evidence, combined, standardised

REALS, GENERATED = 8, 30
NONE = np.zeros(REALS, bool), np.zeros(GENERATED, bool)


def evidence(distances: NDArray[np.float32], blank: tuple[NDArray[np.bool_], NDArray[np.bool_]] = NONE) -> Evidence:
    """Against a mean of 1 and a standard deviation of 0.01: nearly all that differs is very far from it."""
    real, generated = (Moments(np.full(n, 1.0), np.full(n, 0.01)) for n in (REALS, GENERATED))
    return standardised(distances, Scale(real, generated), *blank)


def at_random(seed: int) -> NDArray[np.float32]:
    """From 0.5 to 1.5, so up to 50 standard deviations."""
    return (0.5 + np.random.default_rng(seed).random((REALS, GENERATED))).astype(np.float32)


@pytest.mark.parametrize("same", ["phash", "sift", "resnet"])
def test_a_pair_at_distance_0_in_a_view_is_before_all_that_are_not(same: str) -> None:
    views = {name: at_random(seed) for seed, name in enumerate(("phash", "sift", "resnet"))}
    for distances in views.values():
        distances[2, 3] = 1.5  # as far as can be
    views[same][2, 3] = 0
    found = combined({name: evidence(distances) for name, distances in views.items()})
    assert found[2, 3] == found.min()


def test_a_pair_at_distance_0_in_all_views_is_before_those_at_0_in_some() -> None:
    views = {name: at_random(seed) for seed, name in enumerate(("phash", "sift"))}
    views["phash"][2, 3] = views["phash"][1, 1] = views["sift"][2, 3] = 0
    views["phash"][4, 4] = 0
    views["sift"][1, 1], views["sift"][4, 4] = 0.6, 0.9
    found = combined({name: evidence(distances) for name, distances in views.items()})
    assert found[2, 3] == IDENTICAL
    assert IDENTICAL <= found[1, 1] <= found[4, 4] < np.delete(found.ravel(), [2 * 30 + 3, 30 + 1, 4 * 30 + 4]).min()


def test_what_rounding_or_a_faint_jpeg_adds_is_no_difference() -> None:
    distances = at_random(0)
    distances[2, 3] = 9e-5
    assert combined({"sift": evidence(distances)})[2, 3] == IDENTICAL


def test_blank_images_are_not_identical() -> None:
    blank = NONE[0].copy(), NONE[1].copy()
    blank[0][2] = blank[1][3] = True
    nothing = np.zeros((REALS, GENERATED), np.float32)
    alone = combined({"sift": evidence(nothing, blank)})
    assert (alone[2] == 0).all()
    assert (alone[:, 3] == 0).all()
    other = combined({"sift": evidence(nothing, blank), "phash": evidence(nothing)})
    assert (other == IDENTICAL).all()  # by the view that sees them
