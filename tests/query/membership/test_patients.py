"""p-values of images and of patients: by loops and all subsets, whatever names and order, and their level by simulation."""

from itertools import combinations, product

import numpy as np
import pytest
from numpy.typing import NDArray

from query.membership import patients as module
from query.membership.calibration import q_values
from query.membership.case import Rows, Values
from query.membership.patients import Patients, count_patients, image_p_values, patient_p_values, patient_ranks, scores_of_ranks

RNG = np.random.default_rng(5)
Law = tuple[int, int]  # patients, slices of each
UNEQUAL: dict[str, tuple[Law, Law]] = {
    "100x1 against 8x10": ((100, 1), (8, 10)),
    "100x1 against 20x10": ((100, 1), (20, 10)),
    "10x10 against 80x1": ((10, 10), (80, 1)),
    "30x3 against 40x5": ((30, 3), (40, 5)),
}
each_law = pytest.mark.parametrize("laws", list(UNEQUAL.values()), ids=list(UNEQUAL))


def sides_of(*laws: Law) -> tuple[NDArray[np.int64], Rows, Rows]:
    """Groups, and rows of those tested and of the reference, as their laws say."""
    (tested, slices), (reference, others) = laws
    groups = np.concatenate([np.repeat(np.arange(tested), slices), np.repeat(tested + np.arange(reference), others)])
    rows = np.arange(len(groups))
    return groups, rows[: tested * slices], rows[tested * slices :]


def alike(rng: np.random.Generator, groups: NDArray[np.int64], rho: float = 0.5) -> Values:
    """Values of which this share of the variance is the patient's."""
    return np.asarray(np.sqrt(rho) * rng.normal(size=groups.max() + 1)[groups] + np.sqrt(1 - rho) * rng.normal(size=len(groups)))


def tiny(seed: int) -> tuple[Values, NDArray[np.str_], Rows, Rows, Values]:
    """Few patients with ties, unknown values, patients on both sides, and a weight of each."""
    rng = np.random.default_rng(seed)
    groups = np.array([f"p{number}" for number in rng.integers(0, 7, 16)])
    values = rng.integers(0, 9, 16).astype(float)
    values[rng.integers(0, 16, 2)] = np.nan
    rows, names = rng.permutation(16), np.unique(groups)
    weights = rng.uniform(0.2, 2, len(names))[np.searchsorted(names, groups)]
    return values, groups, np.sort(rows[:9]), np.sort(rows[9:]), weights


# Ranks


def test_a_rank_is_the_chance_that_a_random_image_of_a_random_patient_is_farther() -> None:
    values, groups, tested, reference, _ = tiny(3)
    found = patient_ranks(values, Patients.of(groups), np.union1d(tested, reference))
    for row in range(16):
        chances = []
        for patient in set(groups[np.isfinite(values)].tolist()):
            own = [value for value in values[groups == patient] if np.isfinite(value)]
            chances.append(np.mean([(value < values[row]) + (value == values[row]) / 2 for value in own]))
        assert found[row] == pytest.approx(np.mean(chances) if np.isfinite(values[row]) else np.nan, nan_ok=True)
    some = patient_ranks(values, Patients.of(groups), tested)
    assert np.isnan(some[reference]).all()


def test_the_mean_score_does_not_depend_on_the_number_of_slices() -> None:
    groups, tested, reference = sides_of((2000, 1), (300, 10))
    scores = scores_of_ranks(patient_ranks(alike(RNG, groups), Patients.of(groups), np.arange(len(groups))))
    assert np.mean(scores[tested]) == pytest.approx(np.mean(scores[reference]), abs=0.15)


# Against loops and all subsets


@pytest.mark.parametrize("seed", range(12))
def test_images_by_loops(seed: int) -> None:
    values, groups, _, reference, weights = tiny(seed)
    found = image_p_values(values, groups, reference, weights)
    kept = [row for row in reference if np.isfinite(values[row])]
    for row, value in enumerate(values):
        rest = [other for other in kept if groups[other] != groups[row]]
        each = len(rest) / len({groups[other] for other in rest})
        parts = []
        for patient in {groups[other] for other in kept} - {groups[row]}:
            own = [other for other in kept if groups[other] == patient]
            parts.append((weights[own[0]], np.mean(values[own] >= value)))
        mine = weights[row] / each
        expected = (mine + sum(w * share for w, share in parts)) / (mine + sum(w for w, _ in parts))
        assert found[row] == pytest.approx(expected if np.isfinite(value) else np.nan, nan_ok=True), row


def by_all_subsets(values: Values, groups: NDArray[np.str_], tested: Rows, reference: Rows, weights: Values) -> dict[str, float]:
    """p of each patient, from every choice of as many slices of either."""
    rows = [row for row in np.union1d(tested, reference) if np.isfinite(values[row])]
    names = sorted({groups[row] for row in rows})

    def rank(row: int) -> float:
        shares = [[(values[o] < values[row]) + (values[o] == values[row]) / 2 for o in rows if groups[o] == p] for p in names]
        return float(np.mean([np.mean(share) for share in shares]))

    def scores(patient: str, side: Rows) -> list[float]:
        return [-np.log(1 - rank(row)) for row in side if groups[row] == patient and np.isfinite(values[row])]

    found = {}
    for patient in {str(group) for group in groups}:
        mine, nearer, total = scores(patient, tested), 0.0, 0.0
        own = weights[groups == patient][0]
        for other in set(names) - {patient}:
            theirs, weight = scores(other, reference), weights[groups == other][0]
            size = min(len(mine), len(theirs))
            if size:
                pairs = product(combinations(theirs, size), combinations(mine, size))
                nearer += weight * np.mean([np.mean(one) >= np.mean(two) - 1e-9 for one, two in pairs])
                total += weight
        found[patient] = (own + nearer) / (own + total) if total else np.nan
    return found


@pytest.mark.parametrize("seed", range(8))
def test_patients_by_all_subsets(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAWS", 20_000)
    values, groups, tested, reference, weights = tiny(seed)
    expected = by_all_subsets(values, groups, tested, reference, weights)
    patients = Patients.of(groups)
    found = count_patients(values, patients, tested, reference, weights, seed).p_values()
    for name, p in zip(patients.names.tolist(), found, strict=True):
        assert p == pytest.approx(expected[name], abs=0.015, nan_ok=True), name


def test_patients_of_one_slice_are_counted_exactly() -> None:
    groups, tested, reference = sides_of((30, 1), (19, 1))
    values = RNG.integers(0, 12, 49).astype(float)
    patients, found = patient_p_values(values, groups, tested, reference)
    expected = [(1 + np.sum(values[reference] >= value)) / 20 for value in values[tested]]
    assert np.allclose(found[:30], expected)
    assert np.isnan(found[30:]).all()
    assert len(patients) == 49
    assert np.allclose(image_p_values(values, groups, reference)[tested], expected)


def test_a_patient_on_both_sides_is_no_reference_for_itself() -> None:
    groups, tested, reference = sides_of((1, 2), (9, 2))
    groups[reference[:2]] = 0  # the nearest of all
    values = -np.arange(20.0)
    found = patient_p_values(values, groups, tested, reference)[1]
    assert found[0] == pytest.approx(1 / 9)
    assert image_p_values(values, groups, reference)[1] == pytest.approx(0.5 / 8.5)
    alone = patient_p_values(values[:4], groups[:4], tested, reference[:2])[1]
    assert np.isnan(alone).all()
    assert np.isnan(image_p_values(values[:4], groups[:4], reference[:2])).all()


def test_an_image_is_tested_alike_whether_its_patient_is_reference() -> None:
    """So that its own label has no part in its p-value."""
    groups, tested, reference = sides_of((1, 5), (9, 2))
    values = alike(np.random.default_rng(4), groups)
    apart, within = (image_p_values(values, groups, rows)[tested] for rows in (reference, np.arange(len(groups))))
    np.testing.assert_allclose(apart, within, atol=1e-12)


def test_what_is_not_known_is_neither_tested_nor_reference() -> None:
    groups, tested, reference = sides_of((12, 3), (9, 4))
    values = alike(RNG, groups)
    values[np.concatenate([tested[::3], reference[::4], tested[-3:]])] = np.nan
    known = np.flatnonzero(np.isfinite(values))
    found = patient_p_values(values, groups, tested, reference)[1]
    rows = [np.flatnonzero(np.isin(known, some)) for some in (tested, reference)]
    fewer = patient_p_values(values[known], groups[known], rows[0], rows[1])
    assert np.array_equal(found[fewer[0].names], fewer[1], equal_nan=True)
    assert np.isnan(found[11])  # all its slices
    assert np.isnan(patient_p_values(np.full(len(groups), np.nan), groups, tested, reference)[1]).all()


# Names and order


@pytest.mark.parametrize("seed", range(4))
def test_names_and_order_change_nothing(seed: int) -> None:
    """Also where patients have the same values, as those of codes do."""
    groups, tested, reference = sides_of((15, 3), (20, 2))
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, len(groups)).astype(float)
    order, names = rng.permutation(len(groups)), rng.permutation(35)
    where = np.argsort(order)
    before = patient_p_values(values, groups, tested, reference, 3)[1]
    again = patient_p_values(values[order], names[groups][order], rng.permutation(where[tested]), where[reference], 3)[1]
    np.testing.assert_allclose(again[names], before, atol=1e-12)
    words = np.array([f"patient {name:03d}" for name in range(35)])
    assert np.array_equal(patient_p_values(values, words[groups], tested, reference, 3)[1], before, equal_nan=True)
    images = image_p_values(values, groups, reference)
    np.testing.assert_allclose(image_p_values(values[order], names[groups][order], where[reference]), images[order])


# Weights


def test_a_patient_without_weight_is_no_reference() -> None:
    groups, tested, reference = sides_of((10, 2), (12, 3))
    values, weights = alike(RNG, groups), np.ones(len(groups))
    weights[np.isin(groups, [10, 15, 20])] = 0
    kept = reference[weights[reference] > 0]
    patients = Patients.of(groups)
    found = count_patients(values, patients, tested, reference, weights, 0)
    assert np.allclose(found.total[:10], 9)
    images = image_p_values(values, groups, reference, weights)
    assert np.allclose(images[tested], image_p_values(values, groups, kept)[tested])


def test_heavier_patients_count_for_more() -> None:
    """p-values are weighted shares: of one slice each, and an own weight of 2, by hand."""
    groups, tested, reference = sides_of((1, 1), (4, 1))
    values, weights = np.array([5.0, 1, 9, 5, 3]), np.array([2.0, 1, 3, 0.5, 4])
    for found in (
        count_patients(values, Patients.of(groups), tested, reference, weights, 0).p_values()[0],
        image_p_values(values, groups, reference, weights)[0],
    ):
        assert found == pytest.approx((2 + 3 + 0.5) / (2 + 8.5))


# Levels


@each_law
def test_levels_hold_whatever_the_numbers_of_slices(laws: tuple[Law, Law]) -> None:
    """Nothing was used, half of the variance is the patient's: images on average over draws, patients exactly."""
    groups, tested, reference = sides_of(*laws)
    count, kept = laws[0][0], laws[1][0]
    images, below, false = [], [], []
    for seed in range(150):
        values = alike(np.random.default_rng([seed, *laws[0], *laws[1]]), groups)
        images.append(np.mean(image_p_values(values, groups, reference)[tested] <= 0.05))
        p = patient_p_values(values, groups, tested, reference, seed)[1][:count]
        below.append([np.mean(p <= level) for level in (0.05, 0.1, 0.2, 0.5)])
        false.append((q_values(p) <= 0.1).any())
    assert 0.03 <= np.mean(images) <= 0.065
    error = np.std(below, axis=0, ddof=1) / np.sqrt(len(below))
    assert (np.mean(below, axis=0) <= np.array([0.05, 0.1, 0.2, 0.5]) + 2.6 * error).all()
    assert np.mean(below, axis=0)[3] > 0.4  # valid, and not by saying nothing
    assert np.mean(false) <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / len(false))
    assert kept  # the reference is there


def test_levels_can_fail() -> None:
    """A patient of ten slices that is held against single ones by its mean or its best is not exchangeable with them."""
    groups, tested, reference = sides_of((10, 10), (80, 1))
    shares = []
    for seed in range(40):
        values = alike(np.random.default_rng(seed), groups)
        best = values[tested].reshape(10, 10).max(axis=1)
        shares.append(np.mean([(1 + np.sum(values[reference] >= value)) / 81 <= 0.05 for value in best]))
    assert np.mean(shares) > 0.15


@pytest.mark.parametrize("laws", [((40, 4), (60, 4)), ((60, 1), (80, 3))], ids=["equal", "unequal"])
def test_false_discoveries_among_used_patients_stay_at_the_level(laws: tuple[Law, Law]) -> None:
    groups, tested, reference = sides_of(*laws)
    used = np.arange(laws[0][0]) < laws[0][0] // 4
    shares, found = [], []
    for seed in range(80):
        values = alike(np.random.default_rng(seed), groups)
        values[tested] += 4 * used[groups[tested]]
        called = q_values(patient_p_values(values, groups, tested, reference, seed)[1][: len(used)]) <= 0.1
        shares.append((called & ~used).sum() / max(1, called.sum()))
        found.append(called[used].mean())
    assert np.mean(shares) <= 0.1 + 2 * np.std(shares, ddof=1) / np.sqrt(len(shares))
    assert np.mean(found) > 0.6


# Copies of slices


def repeated(
    values: Values, groups: NDArray[np.int64], rows: Rows, patient: int, times: int
) -> tuple[Values, NDArray[np.int64], Rows]:
    """Each of its slices so many times in a row."""
    counts = np.where(groups == patient, times, 1)
    first = np.cumsum(counts) - counts
    all_of = np.concatenate([np.arange(first[row], first[row] + counts[row]) for row in rows])
    return np.repeat(values, counts), np.repeat(groups, counts), all_of


@pytest.mark.parametrize("patient", [0, 7, 31, 40])
def test_more_copies_of_a_patients_slices_change_little(patient: int) -> None:
    """Of one that is tested or of the reference: no p-value by more than what random slices differ in."""
    groups, tested, reference = sides_of((20, 4), (30, 4))
    values = alike(np.random.default_rng(8), groups)
    before = patient_p_values(values, groups, tested, reference)[1]
    for times in (2, 5):
        more, of, rows = repeated(values, groups, tested, patient, times)
        after = patient_p_values(more, of, rows, repeated(values, groups, reference, patient, times)[2])[1]
        others = np.arange(20) != patient
        assert np.abs(after - before)[:20][others].max() <= 1 / 31 + 1e-9
        assert abs(after - before)[patient] <= 0.1 if patient < 20 else True
    images = image_p_values(values, groups, reference)
    more, of, rows = repeated(values, groups, reference, patient, 3)
    again = image_p_values(more, of, rows)
    kept = np.flatnonzero(np.append(True, np.diff(np.repeat(np.arange(len(values)), np.where(groups == patient, 3, 1)))))
    assert np.abs(again[kept] - images).max() < 0.02
