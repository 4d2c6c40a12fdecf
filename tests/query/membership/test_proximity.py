"""Nearness against sorting, least squares, enumeration and draws."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.types import Metric
from query.comparison.reductions.contest import LOST, RIVALS
from query.comparison.reductions.logarithms import EPSILON
from query.comparison.reductions.ridge import RIDGE, floats, residual
from query.comparison.reductions.rivals import Rivals
from query.membership.case import Case, MembershipError, Values
from query.membership.proximity import NEAR, Nearness, log_nearest, matched_nearest, nearness
from tests.helpers.cases import BITS, VIEWS, at_random, images_of, planted, unit

RNG = np.random.default_rng(1)
RIVALRY = set(Nearness) - {"d1", "near", "d1_d50", "residual"}  # of real images among each other
RELATIVE = {*RIVALRY, "d1_d50"}  # what is nearer than before need not win
each_view = pytest.mark.parametrize("view", ["phash", "resnet"])
each_score = pytest.mark.parametrize("which", list(Nearness))
# With 12 axes left, the cubic mean over all whitened images hardly notices one copy.
each_score_of_one = pytest.mark.parametrize("which", [each for each in Nearness if each is not Nearness.WHITE_ATTRIBUTION])


def by_ridge(query: NDArray[np.float64], near: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """Weights of the ridge regression, as least squares with rows appended for the ridge."""
    k = len(near)
    rows = np.vstack([near.T, np.sqrt(ridge) * np.eye(k)])
    return np.asarray(np.linalg.lstsq(rows, np.append(query, np.zeros(k)), rcond=None)[0], np.float64)


def slow_distances(case: Case, view: str) -> NDArray[np.float64]:
    """Distances by their definition, the smaller of both where there are flipped images."""
    sides = [side.vectors[view] for side in (case.real, case.flipped) if side is not None]
    made = case.generated.vectors[view]
    if VIEWS[view] is Metric.HAMMING:
        found = [[[np.unpackbits(a ^ b).sum() for b in made] for a in side] for side in sides]
    else:
        found = [[[max(0, 1 - float(a.astype(float) @ b)) for b in made] for a in side] for side in sides]
    return np.asarray(np.min(np.array(found, float), axis=0), np.float64)


def slow_logs(case: Case, view: str) -> NDArray[np.float64]:
    return np.log(np.maximum(np.sort(slow_distances(case, view), axis=1), EPSILON[VIEWS[view]]))


def with_flipped(case: Case) -> Case:
    """The second half of the generated images are copies of other images, which are the flipped ones."""
    rng = np.random.default_rng(5)
    flipped = {view: at_random(rng, len(case.real), view) for view in case.real.vectors}
    made = {view: np.concatenate([case.generated.vectors[view], flipped[view][::3]]) for view in flipped}
    return replace(case, flipped=images_of(flipped), generated=images_of(made, "generated"), memory={})


SMALL = planted(3, used=6, unused=6, each=5, others=40)[0]
FLIPPED = with_flipped(SMALL)


def test_residual_is_that_of_ridge_regression() -> None:
    queries, near = unit(RNG.normal(size=(7, 12))), unit(RNG.normal(size=(7, 20, 12)))
    for ridge in (RIDGE, 0.01, 3.0):
        expected = [np.linalg.norm(q - n.T @ by_ridge(q, n, ridge)) for q, n in zip(queries, near, strict=True)]
        assert np.allclose(residual(queries, near, ridge), expected, atol=1e-6)


def test_residual_vanishes_where_neighbours_blend_into_the_image_and_no_single_one_is_near() -> None:
    near = unit(RNG.normal(size=(1, 5, 30)))
    blend = unit(near.sum(axis=1))
    assert (1 - near[0] @ blend[0]).min() > 0.3
    assert residual(blend, near, 0.0)[0] < 1e-3
    assert residual(unit(RNG.normal(size=(1, 30))), near, 0.0)[0] > 0.5


@pytest.mark.parametrize("view", ["phash", "resnet"])
@pytest.mark.parametrize("case", [SMALL, FLIPPED], ids=["plain", "flipped"])
def test_contest_is_won_by_whom_generated_images_are_nearest_to(case: Case, view: str) -> None:
    far = np.log(np.maximum(slow_distances(case, view), EPSILON[VIEWS[view]]))
    found = nearness(case, view, Nearness.CONTEST)
    rivals = Rivals.of(case.groups, case.real.vectors[min(case.real.vectors)])
    for row in range(len(case.real)):
        others = ~np.isin(rivals.group, rivals.excluded[rivals.group[row]])
        ahead = np.maximum(far[others].min(axis=0) - far[row], LOST)
        # of equally near ones (rounding apart) those that speak for it
        nearest = sorted(zip(np.round(far[row], 5), -ahead, strict=True))[:RIVALS]
        assert found[row] == pytest.approx(-np.mean([behind for _, behind in nearest]), abs=1e-4)


def test_contest_of_one_group_is_no_contest() -> None:
    alone = replace(SMALL, groups=np.zeros(len(SMALL.real)), memory={})
    assert (nearness(alone, "resnet", Nearness.CONTEST) == 0).all()


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_matched_nearest_is_the_mean_over_every_possible_draw(n: int) -> None:
    ordered = np.sort(RNG.normal(size=(2, n)), axis=1)
    for size in range(1, n + 1):
        for k in range(1, size + 1):
            draws = [ordered[:, list(rows)][:, :k].mean(axis=1) for rows in combinations(range(n), size)]
            assert np.allclose(matched_nearest(ordered, size, k), np.mean(draws, axis=0), atol=1e-9), (size, k)


def test_matched_nearest_is_where_real_draws_lead() -> None:
    ordered = np.sort(RNG.exponential(size=5000))
    draws = [np.sort(RNG.choice(ordered, 400, replace=False))[:5].mean() for _ in range(2000)]
    error = np.std(draws) / np.sqrt(len(draws))
    assert abs(matched_nearest(ordered[None], 400, 5)[0] - np.mean(draws)) < 4 * error
    assert matched_nearest(ordered[None], 5000, 5)[0] == pytest.approx(ordered[:5].mean())


@pytest.mark.parametrize("size", [0, 2, 9])
def test_a_draw_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"3 to 8 candidates, got {size}"):
        matched_nearest(np.ones((1, 8)), size, 3)


@each_view
@pytest.mark.parametrize("case", [SMALL, FLIPPED], ids=["plain", "flipped"])
def test_distances_are_those_of_a_sort(case: Case, view: str) -> None:
    logs = slow_logs(case, view)
    assert len(case.generated) > 50
    assert np.allclose(nearness(case, view, Nearness.D1), -logs[:, 0], atol=1e-5)
    assert np.allclose(nearness(case, view, Nearness.NEAR), -logs[:, :NEAR].mean(axis=1), atol=1e-5)
    assert np.allclose(nearness(case, view, Nearness.D1_D50), logs[:, 49] - logs[:, 0], atol=1e-5)
    assert np.allclose(log_nearest(case, view, 7), logs[:, :7], atol=1e-5)


@each_view
@each_score_of_one
def test_flipped_images_count_where_they_are_nearer(view: str, which: Nearness) -> None:
    plain = replace(FLIPPED, flipped=None, memory={})
    copied = np.arange(len(SMALL.real)) % 6 == 3  # whose flipped image was generated, and no copy of themselves
    gained = nearness(FLIPPED, view, which) - nearness(plain, view, which)
    # in a contest the exact copy of a rival, where it is among the nearest, outweighs the own one
    assert (gained[copied].max() if which is Nearness.CONTEST else gained[copied].min()) > 0.02
    if which not in RELATIVE:
        assert (gained > -1e-9).all()


@each_view
@each_score
def test_blank_images_have_no_score_and_do_not_change_that_of_others(view: str, which: Nearness) -> None:
    blank = np.arange(len(SMALL.real)) == 4
    one = replace(SMALL, real=replace(SMALL.real, blank={**SMALL.real.blank, view: blank}), memory={})
    found, before = nearness(one, view, which), nearness(SMALL, view, which)
    assert np.array_equal(np.isnan(found), blank)
    if which not in RIVALRY:
        assert np.array_equal(found[~blank], before[~blank])


@pytest.mark.parametrize("which", [Nearness.ATTRIBUTION, Nearness.WHITE_PEAKS, Nearness.CONTEST])
def test_blank_generated_images_are_nobodys(which: Nearness) -> None:
    """A real image like the vector of a blank one gains nothing by it."""
    blank = np.arange(len(SMALL.generated)) % 4 == 0
    marked = replace(SMALL.generated, blank={**SMALL.generated.blank, "resnet": blank})
    found = nearness(replace(SMALL, generated=marked, memory={}), "resnet", which)
    left = replace(SMALL, memory={}).drawn(np.flatnonzero(~blank))
    assert np.allclose(found, nearness(left, "resnet", which), atol=1e-6)
    assert not np.allclose(found, nearness(SMALL, "resnet", which), atol=1e-3)


@each_score
def test_a_view_that_sees_nothing_in_any_real_image_has_no_scores(which: Nearness) -> None:
    blank = {**SMALL.real.blank, "resnet": np.ones(len(SMALL.real), bool)}
    case = replace(SMALL, real=replace(SMALL.real, blank=blank), memory={})
    assert np.isnan(nearness(case, "resnet", which)).all()


@each_view
@each_score
def test_few_generated_images_are_all_looked_at(view: str, which: Nearness) -> None:
    three = replace(SMALL, memory={}).drawn(np.array([0, 20, 50]))
    logs = slow_logs(three, view)
    found = nearness(three, view, which)
    assert np.isfinite(found).all()
    expected: dict[Nearness, Values] = {
        Nearness.D1: -logs[:, 0],
        Nearness.NEAR: -logs.mean(axis=1),
        Nearness.D1_D50: logs[:, 2] - logs[:, 0],
    }
    if which in expected:
        assert np.allclose(found, expected[which], atol=1e-5)
    with pytest.raises(MembershipError, match=r"^there must be at least two generated images to measure nearness, got 1$"):
        nearness(three.drawn(np.array([0])), view, which)


@each_view
@each_score_of_one
def test_an_identical_image_is_finite_and_the_nearest(view: str, which: Nearness) -> None:
    made = {name: vectors.copy() for name, vectors in SMALL.generated.vectors.items()}
    for name in made:
        made[name][50] = SMALL.real.vectors[name][1]
    case = replace(SMALL, generated=images_of(made, "generated"), memory={})
    found = nearness(case, view, which)
    assert np.isfinite(found).all()
    unused = np.arange(1, 12, 2)
    assert found[unused].argmax() == 0
    if which is Nearness.D1:
        assert found[1] == pytest.approx(-np.log(EPSILON[VIEWS[view]]))


def test_bits_become_unit_rows_whose_products_say_the_share_of_equal_bits() -> None:
    codes = at_random(RNG, 4, "phash")
    found = floats(codes, Metric.HAMMING)
    different = np.array([[np.unpackbits(a ^ b).sum() for b in codes] for a in codes])
    assert np.allclose(found @ found.T, 1 - 2 * different / BITS, atol=1e-6)
