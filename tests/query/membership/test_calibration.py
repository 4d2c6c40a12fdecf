"""Evidence by hand, by brute force, and by what p-values and q-values promise over many draws."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, t

from query.membership.calibration import (
    SPLITS,
    best_threshold,
    evidence,
    folds,
    halves,
    least_rejected,
    probability,
    q_values,
    smallest_p,
    wrong_threshold,
)
from query.membership.case import NOT_USED, UNKNOWN, USED, Case, Method, Rows, Values
from query.membership.methods.density_ratio import Reference
from query.membership.methods.fusion import Fusion
from query.membership.methods.hubness import Hubness
from query.membership.patients import image_p_values, patient_p_values
from tests.helpers.cases import planted, told

RNG = np.random.default_rng(2)


def always(value: Values, case: Case) -> Values:
    return value


def case_with(reference: int, unlabelled: int, groups: Values | None = None, seed: int = 0) -> Case:
    """The reference first; the pictures do not matter."""
    case, _ = planted(0, used=0, unused=reference + unlabelled, each=1, others=2, views=["resnet"])
    used = np.where(np.arange(len(case.real)) < reference, NOT_USED, UNKNOWN).astype(np.int8)
    return replace(case, used=used, groups=np.arange(len(used)) if groups is None else groups, seed=seed)


def p_values(case: Case, score: Callable[[Case], Values]) -> Values:
    """Of images, where the score looks at labels."""
    return evidence(case, score, looks=True).image


def in_interval(found: Values, expected: float) -> bool:
    """Whether the expectation lies in the 99% t-interval of the mean."""
    width = t.ppf(0.995, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return bool(abs(found.mean() - expected) <= width)


# p-values


def test_p_values_by_hand() -> None:
    value = np.array([1.0, 2.0, 3.0, 4.0, np.nan, 0.0, 3.0, 9.0, np.nan])  # the first five are the reference
    found = p_values(case_with(5, 4), lambda case: value)
    # of four reference images with a value, 4, 2 and 0 are at least as near
    assert np.array_equal(found[5:], [5 / 5, 3 / 5, 1 / 5, np.nan], equal_nan=True)


def test_each_half_calibrates_while_the_other_is_looked_at() -> None:
    case, seen = case_with(20, 5), list[Rows]()

    def score(part: Case) -> Values:
        seen.append(part.reference)
        return np.arange(25.0)

    p_values(case, score)
    assert len(seen) == 2 * SPLITS
    splits = [set(half.tolist()) for half in seen]
    assert all(one | other == set(range(20)) for one, other in zip(splits[::2], splits[1::2], strict=True))
    assert len(set(map(frozenset, splits))) > SPLITS  # each split is another


def test_without_a_look_at_labels_the_whole_reference_calibrates_images_and_patients() -> None:
    groups = np.arange(60) // 2
    case = case_with(40, 20, groups.astype(float), seed=3)
    value = np.random.default_rng(0).normal(size=60)
    found = evidence(case, partial(always, value), looks=False)
    reference = np.arange(40)
    assert np.array_equal(found.image, image_p_values(value, case.groups, reference))
    of_tested, of_reference = (
        patient_p_values(value, case.groups, rows, reference, 3)[1] for rows in (np.arange(40, 60), reference)
    )
    assert np.array_equal(found.unlabelled, of_tested, equal_nan=True)
    assert np.array_equal(found.labelled, of_reference, equal_nan=True)
    assert np.array_equal(np.isfinite(found.unlabelled), np.arange(30) >= 20)
    assert np.array_equal(np.isfinite(found.labelled), np.arange(30) < 20)


def test_halves_together_are_the_whole_reference() -> None:
    """Of values that labels do not change, both halves give what the whole gives; patients within their random slices."""
    groups = np.arange(60) // 2
    case = case_with(40, 20, groups.astype(float))
    value = np.random.default_rng(1).normal(size=60)
    halved, whole = (evidence(case, partial(always, value), looks=looks) for looks in (True, False))
    np.testing.assert_allclose(halved.image[40:], whole.image[40:])
    np.testing.assert_allclose(halved.unlabelled, whole.unlabelled, atol=0.15)
    assert np.isnan(halved.labelled).all()


def test_weights_of_patients_reach_both() -> None:
    groups = np.arange(60) // 2
    case = case_with(40, 20, groups.astype(float))
    weights = np.where(groups < 10, 0.0, 1.0)  # ten of the reference count for nothing
    value = np.random.default_rng(2).normal(size=60)
    found = evidence(replace(case, weights=weights), partial(always, value), looks=False)
    fewer = evidence(case.forgetting(np.arange(20)), partial(always, value), looks=False)
    np.testing.assert_allclose(found.image[40:], fewer.image[40:])
    assert found.unlabelled[20:].min() >= 1 / 11 - 1e-9
    even = evidence(replace(case, weights=np.ones(60)), partial(always, value), looks=False)
    assert np.array_equal(even.image, evidence(case, partial(always, value), looks=False).image)


def test_a_value_by_the_reference_it_saw_is_held_against_the_rest() -> None:
    """Whoever knows its reference by heart gives it away: with all looked at and all calibrating, p would be wrong."""

    def by_heart(part: Case) -> Values:
        return np.where(np.isin(np.arange(25), part.reference), 0.0, 1.0)  # who was looked at is far

    found = p_values(case_with(20, 5), by_heart)
    assert np.array_equal(found[20:], np.ones(5))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_keep_groups_together_are_balanced_and_do_not_depend_on_order(count: int) -> None:
    groups = np.array([f"p{number}" for number in RNG.integers(0, 25, 60)])
    rows = np.sort(RNG.choice(60, 45, replace=False))
    parts = folds(rows, groups, count, 7)
    assert np.array_equal(np.sort(np.concatenate(parts)), rows)
    assert all(np.array_equal(part, np.sort(part)) for part in parts)
    members = [set(groups[part]) for part in parts]
    assert sum(map(len, members)) == len(set.union(*members))
    largest = max(np.unique(groups[rows], return_counts=True)[1])
    assert np.ptp([len(part) for part in parts]) <= largest
    order = RNG.permutation(60)
    where = np.argsort(order)
    again = folds(np.sort(where[rows]), groups[order], count, 7)
    assert [set(order[part]) for part in again] == [set(part) for part in parts]
    assert any(set(a) != set(b) for a, b in zip(folds(rows, groups, count, 8), parts, strict=True))


def test_halves_are_two_folds_and_one_group_is_no_two_halves() -> None:
    rows, groups = np.arange(10), np.arange(10) // 2
    assert all(map(np.array_equal, halves(rows, groups, 3), folds(rows, groups, 2, 3)))
    assert len(halves(rows, np.zeros(10), 3)) == 1
    assert halves(rows[:0], groups, 3) == []


@pytest.mark.parametrize("n", [19, 50, 79])
def test_p_values_of_images_like_the_reference_keep_their_level(n: int) -> None:
    shares = []
    for seed in range(120):
        value = np.random.default_rng([seed, n]).normal(size=n + 40)
        shares.append(np.mean(p_values(case_with(n, 40, seed=seed), partial(always, value))[n:] <= 0.05))
    attainable = np.floor(0.05 * (n + 1)) / (n + 1)
    assert in_interval(np.array(shares), attainable)


def test_p_values_of_fusion_keep_their_level_where_nothing_was_used() -> None:
    shares = []
    for seed in range(120):
        case, _ = planted(seed, used=0, unused=119, each=1, others=60)
        case = told(case, np.zeros(119, bool), slice(0, 79))
        shares.append(np.mean(p_values(case, lambda part: Fusion().answer(part, Fusion().fit(part)).value)[79:] <= 0.05))
    assert np.mean(shares) < 4 / 80 or in_interval(np.array(shares), 4 / 80)
    assert np.mean(shares) > 0.8 * 4 / 80  # a mean over splits is a little less extreme than each: valid, hardly wasteful


@pytest.mark.parametrize("method", [Reference(), Hubness()], ids=lambda method: method.name)
def test_p_values_of_methods_that_hang_on_their_half_stay_below_the_level(method: Method) -> None:
    """Their values change with the half that is looked at; a mean over splits is then seldom extreme: valid, not exact."""
    shares = []
    for seed in range(60):
        case, _ = planted(seed, used=0, unused=119, each=1, others=60)
        case = told(case, np.zeros(119, bool), slice(0, 79))
        found = p_values(case, lambda part: method.answer(part, method.fit(part)).value)[79:]
        shares.append(np.mean(found <= 0.05))
        assert found.min() >= smallest_p(79)
    assert 0.001 < np.mean(shares) < 0.05


def test_a_reference_that_is_nearer_by_nature_shows() -> None:
    """That the simulations above can fail: unlabelled images from elsewhere do not keep the level."""
    shares = []
    for seed in range(100):
        value = np.random.default_rng(seed).normal(size=119) + 0.5 * (np.arange(119) >= 79)
        shares.append(np.mean(p_values(case_with(79, 40, seed=seed), partial(always, value))[79:] <= 0.05))
    assert not in_interval(np.array(shares), 0.05)


# q-values


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    for n in (1, 2, 7, 200):
        p = RNG.integers(1, 30, n) / 30  # with ties
        assert np.allclose(q_values(p), false_discovery_control(p))
    assert np.allclose(q_values([0.01, 0.04, 0.03, 0.8]), [0.04, 0.16 / 3, 0.16 / 3, 0.8])


def test_what_has_no_p_value_is_no_test() -> None:
    p = np.array([np.nan, 0.02, 0.5, np.nan])
    assert np.array_equal(q_values(p), [np.nan, 0.04, 0.5, np.nan], equal_nan=True)
    assert q_values([]).shape == (0,)


def test_false_discoveries_among_planted_signals_stay_at_the_level() -> None:
    shares, found = [], []
    used = np.arange(100) < 20
    for seed in range(120):
        value = np.random.default_rng(seed).normal(size=300)
        value[200:] += 4 * used
        called = q_values(p_values(case_with(200, 100, seed=seed), partial(always, value))[200:]) <= 0.1
        shares.append((called & ~used).sum() / max(1, called.sum()))
        found.append(called[used].mean())
    assert np.mean(shares) <= 0.1 + 2 * np.std(shares, ddof=1) / np.sqrt(len(shares))
    assert np.mean(shares) > 0.03  # expected 0.08: the level is used, not merely kept
    assert np.mean(found) > 0.7


def test_what_so_few_can_show() -> None:
    assert smallest_p(79) == 1 / 80
    assert least_rejected(80, 200, 0.1) == 25
    for reference, tests in ((80, 200), (19, 10), (9, 20), (200, 3), (99, 1)):
        lowest = [k for k in range(1, 1000) if tests / k * smallest_p(reference) <= 0.1 + 1e-12]
        assert least_rejected(reference, tests, 0.1) == lowest[0]


def test_a_q_value_at_the_level_is_no_bit_above_it() -> None:
    """Or nobody is called used where `least_rejected` says that somebody can be."""
    for tests in range(1, 300):
        for level in (0.05, 0.1, 0.2, 0.3):
            assert q_values(np.full(tests, level)).max() <= level
    for reference in (9, 19, 49, 99):
        for tests in range(1, 200):
            least = least_rejected(reference, tests, 0.1)
            if least <= tests:
                p = np.where(np.arange(tests) < least, smallest_p(reference), 1.0)
                assert (q_values(p) <= 0.1).sum() == least, (reference, tests)


def test_least_rejected_is_what_q_values_do() -> None:
    for count, rejected in ((24, 0), (25, 25)):
        p = np.ones(200)
        p[:count] = smallest_p(80)
        assert (q_values(p) <= 0.1).sum() == rejected


# P(used) and thresholds


def two_kinds(n: int, shift: float, seed: int = 4) -> tuple[Values, NDArray[np.int8]]:
    rng = np.random.default_rng(seed)
    used = np.where(rng.random(n) < 0.3, USED, NOT_USED).astype(np.int8)
    return np.asarray(rng.normal(size=n) + shift * (used == USED), np.float64), used


def test_probability_finds_the_curve_of_two_normals_at_every_prior() -> None:
    value, used = two_kinds(60_000, 2.0)
    at = np.linspace(-1, 3, 5)
    for prior in (0.1, 0.5, 0.8):
        odds = prior / (1 - prior) * np.exp(2 * at - 2)  # Bayes: the log ratio of N(2, 1) and N(0, 1) is 2 x - 2
        found = probability(value, used, prior)
        assert found is not None
        assert found.prior == prior
        assert np.allclose(found.of(at), odds / (1 + odds), atol=0.02)


def test_probability_is_monotone_finite_and_knows_no_unknown() -> None:
    value = np.array([-3.0, -2, -1, 1, 2, 3, 100, np.nan])
    used = np.array([0, 0, 0, 1, 1, 1, -1, 1], np.int8)  # kinds that do not overlap
    found = probability(value, used, 0.5)
    assert found is not None
    assert np.isfinite([found.slope, found.offset]).all()
    chance = found.of(np.array([-1e9, -3, 0, 3, 1e9, np.nan]))
    assert (np.diff(chance[:5]) >= 0).all()
    assert 0 < chance[1] < 0.5 < chance[3] < 1
    assert np.isnan(chance[5])
    assert found == probability(value[:6], used[:6], 0.5)


@pytest.mark.parametrize("kind", [USED, NOT_USED, UNKNOWN])
def test_no_probability_and_no_threshold_without_both_kinds(kind: int) -> None:
    value, used = np.arange(6.0), np.full(6, kind, np.int8)
    assert probability(value, used, 0.5) is None
    assert best_threshold(value, used) is None


@pytest.mark.parametrize("prior", [0, 1, -0.1, 2])
def test_a_prior_is_a_share(prior: float) -> None:
    with pytest.raises(ValueError, match="the prior must be between 0 and 1"):
        probability(np.arange(2.0), np.array([0, 1], np.int8), prior)


def test_best_threshold_by_brute_force() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        value, used = rng.integers(0, 8, 14).astype(float), rng.integers(-1, 2, 14).astype(np.int8)
        if not {0, 1} <= set(used):
            continue
        yes, no = value[used == USED], value[used == NOT_USED]

        def accuracy(threshold: float, yes: Values = yes, no: Values = no) -> float:
            return float(np.mean(yes >= threshold) + np.mean(no < threshold)) / 2

        found = best_threshold(value, used)
        assert found is not None
        best = max(map(accuracy, np.arange(-0.5, 9)))
        assert accuracy(found) == pytest.approx(best)
        higher = [step for step in np.arange(-0.5, 9) if step > found + 0.5 and accuracy(step) > best - 1e-12]
        assert not [step for step in higher if (value[used != UNKNOWN] >= step).sum() < (value[used != UNKNOWN] >= found).sum()]


def test_best_threshold_ignores_what_has_no_value() -> None:
    assert best_threshold(np.array([0, 1, 4, 5, np.nan]), np.array([0, 0, 1, 1, 0], np.int8)) == 2.5


def test_wrong_threshold_is_the_lowest_that_keeps_its_share() -> None:
    for wrong in (0.0, 0.05, 0.1, 0.5):
        value = RNG.permutation(np.append(np.arange(37.0), [3.0, 3.0, 36.0, np.nan]))
        found = wrong_threshold(value, np.zeros(len(value), np.int8), wrong)
        assert found is not None
        known = value[np.isfinite(value)]
        assert np.mean(known >= found) <= wrong
        assert np.mean(known >= np.nextafter(found, -np.inf)) > wrong
    assert wrong_threshold(np.arange(3.0), np.full(3, USED, np.int8), 0.1) is None
