"""The test of the whole set: uniform where nothing was used, a bound that covers, and power."""

import numpy as np
import pytest
from scipy.stats import binom, kstest

from query.membership.patients import Patients, patient_ranks, scores_of_ranks
from query.membership.set_test import DRAWS, SetTest, set_test
from tests.query.membership.test_patients import Law, alike, sides_of

Laws = tuple[Law, Law]
EQUAL: Laws = ((40, 3), (40, 3))
UNEQUAL: dict[str, Laws] = {
    "100x1 against 20x10": ((100, 1), (20, 10)),
    "10x10 against 80x1": ((10, 10), (80, 1)),
    "30x3 against 40x5": ((30, 3), (40, 5)),
}


def found_with(laws: Laws, share: float, shift: float, seed: int) -> SetTest:
    """Where this share of the patients lies nearer by so much."""
    groups, tested, reference = sides_of(*laws)
    values = alike(np.random.default_rng([seed, *laws[0], *laws[1]]), groups)
    values[tested] += shift * (groups[tested] < round(share * laws[0][0]))
    return set_test(values, groups, tested, reference, seed)


# Where nothing was used


@pytest.mark.parametrize("laws", [((40, 1), (40, 1)), EQUAL], ids=["single slices", "three slices"])
def test_p_is_uniform_where_patients_are_exchangeable(laws: Laws) -> None:
    p = np.array([found_with(laws, 0, 0, seed).p_value for seed in range(100)])
    assert kstest(p, "uniform").pvalue > 0.01
    assert p.min() >= 1 / (DRAWS + 1)


@pytest.mark.parametrize("laws", list(UNEQUAL.values()), ids=list(UNEQUAL))
def test_the_level_holds_whatever_the_numbers_of_slices(laws: Laws) -> None:
    found = [found_with(laws, 0, 0, seed) for seed in range(60)]
    for level in (0.05, 0.2):
        assert sum(each.p_value <= level for each in found) <= binom.ppf(0.995, len(found), level)
    assert all(each.share_low == 0 or each.p_value <= 0.05 for each in found)


def test_the_level_can_fail() -> None:
    """A reference that is nearer by nature is seen in most draws."""
    assert np.mean([found_with(EQUAL, 1, 1, seed).p_value <= 0.05 for seed in range(10)]) > 0.8


# Where some were


@pytest.mark.parametrize(
    ("laws", "share", "shift"),
    [
        (((40, 1), (40, 1)), 0.25, 3),
        (((30, 3), (40, 5)), 0.1, 3),
        (((10, 10), (80, 1)), 0.3, 3),
    ],
)
def test_the_bound_covers(laws: Laws, share: float, shift: float) -> None:
    lows = np.array([found_with(laws, share, shift, seed).share_low for seed in range(30)])
    assert np.sum(lows > share + 1e-9) <= binom.ppf(0.995, len(lows), 0.05)
    assert lows.mean() > 0.2 * share  # and says something


def test_many_used_patients_are_found_and_most_of_them_bounded() -> None:
    found = [found_with(EQUAL, 0.5, 4, seed) for seed in range(6)]
    assert max(each.p_value for each in found) <= 0.005
    assert 0.3 < np.mean([each.share_low for each in found]) <= 0.5
    everybody = found_with(((30, 1), (30, 1)), 1, 20, 0)
    assert everybody.share_low > 0.8
    assert everybody.used_low == round(everybody.share_low * 30)


def test_nearer_patients_never_speak_against_it() -> None:
    groups, tested, reference = sides_of(((20), 3), (25, 2))
    values = alike(np.random.default_rng(2), groups)
    p, share = [], []
    for shift in (0, 0.5, 1, 2, 4, 8):
        found = set_test(np.where(np.isin(groups, range(10)), values + shift, values), groups, tested, reference)
        p.append(found.p_value)
        share.append(found.share_low)
    assert (np.diff(p) <= 0.005).all()
    assert (np.diff(share) >= -1e-9).all()
    assert p[0] > 0.05 > p[-1]
    assert share[0] == 0 < share[-1]


def test_only_the_order_of_values_counts() -> None:
    groups, tested, reference = sides_of((20, 3), (25, 2))
    values = alike(np.random.default_rng(1), groups)
    values[tested] += 0.7
    assert set_test(np.exp(values), groups, tested, reference) == set_test(values, groups, tested, reference)


def test_p_is_that_of_all_exchanges_of_few_patients() -> None:
    """Held against every way to choose the tested ones, with NumPy's own variances."""
    from itertools import combinations

    groups, tested, reference = sides_of((4, 2), (5, 3))
    values = alike(np.random.default_rng(6), groups)
    values[tested] += 0.8
    ranks = patient_ranks(values, Patients.of(groups), np.arange(len(groups)))
    tables = [np.array([each[groups == patient].mean() for patient in range(9)]) for each in (ranks, scores_of_ranks(ranks))]

    def statistic(side: list[int]) -> float:
        other = [patient for patient in range(9) if patient not in side]
        parts = []
        for table in tables:
            spread = table[side].var(ddof=1) / len(side) + table[other].var(ddof=1) / len(other)
            parts.append((table[side].mean() - table[other].mean()) / np.sqrt(spread))
        return float(max(parts))

    every = [statistic(list(side)) for side in combinations(range(9), 4)]
    exact = np.mean(np.array(every) >= statistic([0, 1, 2, 3]) - 1e-9)
    found = set_test(values, groups, tested, reference).p_value
    assert 0.02 < exact < 0.6
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / DRAWS))


# What does not count


@pytest.mark.parametrize("seed", range(4))
def test_names_and_order_change_nothing(seed: int) -> None:
    """Also where patients have the same values, as those of codes do."""
    groups, tested, reference = sides_of((20, 2), (25, 2))
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 3, len(groups)) + (groups < 12) * 1.0
    order, names = rng.permutation(len(groups)), rng.permutation(45)
    where = np.argsort(order)
    before = set_test(values, groups, tested, reference, 5)
    assert set_test(values[order], names[groups][order], rng.permutation(where[tested]), where[reference], 5) == before
    assert set_test(values, np.array([f"p{name}" for name in names])[groups], tested, reference, 5) == before
    assert 0 < before.share_low < 1


def test_patients_of_the_reference_and_unknown_values_are_left_out() -> None:
    groups, tested, reference = sides_of((12, 2), (15, 2))
    values = alike(np.random.default_rng(3), groups)
    values[tested] += 1.5
    mixed, unknown = groups.copy(), values.copy()
    mixed[tested[:2]] = 12  # a patient of the reference, by other images
    unknown[tested[:2]] = np.nan
    expected = set_test(values, groups, tested[2:], reference)
    assert set_test(values, mixed, tested, reference) == expected
    assert set_test(unknown, groups, tested, reference) == expected
    assert (expected.patients, expected.reference) == (11, 15)


@pytest.mark.parametrize("laws", [((1, 5), (20, 1)), ((20, 1), (1, 5)), ((0, 1), (20, 1)), ((20, 1), (0, 1))])
def test_one_patient_is_no_set(laws: Laws) -> None:
    groups, tested, reference = sides_of(*laws)
    found = set_test(np.arange(float(len(groups))), groups, tested, reference)
    assert np.isnan([found.p_value, found.share_low]).all()
    assert (found.patients, found.reference, found.used_low) == (laws[0][0], laws[1][0], 0)


def test_equal_values_say_nothing() -> None:
    groups, tested, reference = sides_of((20, 2), (20, 3))
    found = set_test(np.ones(len(groups)), groups, tested, reference)
    assert (found.p_value, found.share_low) == (1.0, 0.0)


def test_of_many_patients_the_bound_errs_to_the_low_side() -> None:
    """More than are looked at one by one: with far fewer looked at it is lower, never higher."""
    groups, tested, reference = sides_of((60, 1), (40, 1))
    values = np.where(groups < 40, 10.0, 0.0) + np.random.default_rng(0).normal(size=100)
    fine = set_test(values, groups, tested, reference)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("query.membership.set_test._STEPS", 7)
        coarse = set_test(values, groups, tested, reference)
    assert coarse.p_value == fine.p_value
    assert 0.3 < coarse.share_low <= fine.share_low <= 40 / 60 + 1e-9
