"""The check of the reference: patients are the unit, slices are matched, what differs is said."""

import numpy as np
import pytest
from numpy.typing import NDArray

from query.membership.reference_check import CheckedPatients, Feature, Features, check_reference, power
from query.membership.reference_verdict import Verdict

WHAT = [
    Feature("mean grey level", "brighter", "darker", 0),
    *(Feature(f"feature {n}", "larger", "smaller") for n in range(1, 20)),
]


Sides = tuple[Features, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]  # groups, rows of either side


def sides(
    seed: int, unlabelled: tuple[int, int] = (40, 1), reference: tuple[int, int] = (40, 1), shift: float = 0.0, alike: float = 1.0
) -> Sides:
    """Features of patients whose images correlate, groups, rows of either side."""
    rng = np.random.default_rng([seed, 1])  # not the numbers that the check draws
    parts = [
        (alike * rng.normal(size=(patients, 1, len(WHAT))) + rng.normal(size=(patients, images, len(WHAT)))).reshape(
            -1, len(WHAT)
        )
        for patients, images in (unlabelled, reference)
    ]
    parts[0][:, 0] += shift * np.sqrt(2)
    images = [unlabelled[1]] * unlabelled[0] + [reference[1]] * reference[0]
    tested, known = np.split(np.arange(sum(images)), [len(parts[0])])
    return Features(WHAT, np.vstack(parts)), np.repeat(np.arange(len(images)), images), tested, known


@pytest.mark.parametrize(("unlabelled", "reference"), [((60, 1), (8, 10)), ((8, 10), (60, 1))])
def test_another_number_of_images_a_patient_refuses_nothing_and_is_told(
    unlabelled: tuple[int, int], reference: tuple[int, int]
) -> None:
    checks = [check_reference(*sides(seed, unlabelled, reference), seed) for seed in range(5)]
    assert sum(check.verdict is Verdict.DIFFERENT for check in checks) <= 1
    assert checks[0].slices == (unlabelled[1], reference[1])
    assert f"unlabelled patients have {unlabelled[1]} image" in checks[0].slices_words


def test_patient_means_would_call_them_different() -> None:
    """What matching slices is for: means of ten images spread less than single ones, which a classifier sees."""
    features, groups, tested, reference = sides(0, (100, 1), (100, 10), alike=0.2)
    means = np.array([features.values[groups == group].mean(axis=0) for group in range(200)])
    naive = check_reference(Features(WHAT, means), np.arange(200), np.arange(100), np.arange(100, 200))
    assert naive.verdict is Verdict.DIFFERENT
    assert check_reference(features, groups, tested, reference).verdict is Verdict.ALIKE


@pytest.mark.parametrize("reference", [(40, 1), (12, 10)])
def test_two_standard_deviations_in_one_feature_are_found_and_said(reference: tuple[int, int]) -> None:
    check = check_reference(*sides(1, (40, 1), reference, shift=2))
    assert check.verdict is Verdict.DIFFERENT
    (difference,) = check.differences
    assert difference.feature == "mean grey level"
    assert difference.low > 0.5
    assert difference.words.startswith("unlabelled images are brighter (mean grey level 2 against 0)")
    darker = check_reference(*sides(1, (40, 1), reference, shift=-2))
    assert darker.differences[0].words.startswith("unlabelled images are darker")


def test_small_numbers_are_told_apart() -> None:
    values = np.repeat([[0.004], [0.001]], 30, axis=0) + np.random.default_rng(0).uniform(0, 1e-6, (60, 1))
    check = check_reference(Features(WHAT[:1], values), np.arange(60), np.arange(30), np.arange(30, 60))
    assert check.words == "unlabelled images are brighter (mean grey level 0.004 against 0.001)"


def test_images_of_one_patient_are_no_evidence_of_many() -> None:
    features, groups, tested, reference = sides(2, (3, 30), (3, 30), shift=1)
    assert check_reference(features, groups, tested, reference).verdict is Verdict.TOO_FEW
    assert check_reference(features, np.arange(len(groups)), tested, reference).verdict is Verdict.DIFFERENT


def test_too_few_patients_are_told_with_the_number_it_takes() -> None:
    check = check_reference(*sides(3, (60, 1), (3, 1)))
    assert check.verdict is Verdict.TOO_FEW
    assert check.needed is not None
    found = [check_reference(*sides(seed, (60, 1), (check.needed, 1), shift=2), seed).verdict for seed in range(20)]
    assert found.count(Verdict.DIFFERENT) >= 13  # 80% promised
    assert check_reference(*sides(3, (1, 1), (60, 1))).needed is None


def test_power_is_that_of_drawn_rank_sums() -> None:
    rng, limit = np.random.default_rng(0), 3.2
    one, two = rng.normal(2, 1, (4000, 30)), rng.normal(0, 1, (4000, 8))
    area = np.array([np.mean(first[:, None] > second) for first, second in zip(one, two, strict=True)])
    rejected = np.mean((area - 0.5) / np.sqrt(39 / (12 * 30 * 8)) >= limit)
    assert power(30, 8, limit) == pytest.approx(rejected, abs=0.05)


def test_patients_on_both_sides_are_left_out() -> None:
    groups = np.array([0, 1, 1, 2, 3])
    patients = CheckedPatients.of(np.arange(5.0)[:, None], groups, np.array([0, 1]), np.array([2, 3, 4]))
    assert patients.counts == (1, 2)
    assert [rows.tolist() for rows in patients.rows] == [[0], [3], [4]]
    nobody = check_reference(Features(WHAT[:1], np.ones((2, 1))), np.array([0, 0]), np.array([0]), np.array([1]))
    assert (nobody.verdict, nobody.unlabelled, nobody.reference) == (Verdict.TOO_FEW, 0, 0)


def test_order_of_images_changes_nothing_and_seeds_repeat() -> None:
    features, groups, tested, reference = sides(4, (30, 3), (20, 5), shift=0.5)
    check = check_reference(features, groups, tested, reference, 3)
    assert check == check_reference(features, groups, tested, reference, 3)
    order = np.random.default_rng(0).permutation(len(groups))
    place = np.argsort(order)
    moved = Features(WHAT, features.values[order])
    assert check == check_reference(moved, groups[order], np.sort(place[tested]), np.sort(place[reference]), 3)


@pytest.mark.parametrize("values", [np.ones((3, 2)), np.full((3, 1), np.nan), np.ones(3)])
def test_features_are_as_many_as_told_and_finite(values: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="1 finite values"):
        Features(WHAT[:1], values)
