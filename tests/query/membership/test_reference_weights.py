"""Weights of a reference of another mixture: near the true likelihood ratio, bounded, refused where they cannot repair."""

import numpy as np
import pytest
from numpy.typing import NDArray

from query.membership.case import MembershipError
from query.membership.patients import Patients, count_patients
from query.membership.reference_check import Feature, Features
from query.membership.reference_weights import BOUND, weights_of

Sides = tuple[Features, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]  # groups, rows of either side


def sides(seed: int, shift: float, patients: int = 150, features: int = 4) -> Sides:
    rng = np.random.default_rng([seed, 1])
    values = rng.normal(size=(2 * patients, features))
    values[:patients, 0] += shift
    what = [Feature(f"feature {number}", "larger", "smaller") for number in range(features)]
    return Features(what, values), np.arange(2 * patients), np.arange(patients), np.arange(patients, 2 * patients)


def test_weights_follow_the_likelihood_ratio_of_two_normal_laws() -> None:
    features, groups, tested, known = sides(0, 1.0)
    weights = weights_of(features, groups, tested, known)
    true = features.values[:, 0] - 0.5  # logarithm of N(1, 1) over N(0, 1)
    assert np.corrcoef(np.log(weights.of_row), true)[0, 1] > 0.9
    assert weights.of_row.min() >= 1 / BOUND
    assert weights.of_row.max() <= BOUND
    reference = weights.of_row[known]
    assert weights.effective == pytest.approx(reference.sum() ** 2 / (reference**2).sum())
    assert 20 <= weights.effective < 150


def test_weighted_p_values_hold_where_plain_ones_do_not() -> None:
    plain: list[float] = []
    weighted: list[float] = []
    for seed in range(3):
        features, groups, tested, reference = sides(seed, 1.0)
        values = 0.95 * features.values[:, 0] + 0.3 * np.random.default_rng(seed + 100).normal(size=len(groups))
        weights = weights_of(features, groups, tested, reference).of_row
        for found, each in ((plain, np.ones(len(groups))), (weighted, weights)):
            p = count_patients(values, Patients.of(groups), tested, reference, each, 0).p_values()
            found.append(float(np.nanmean(p <= 0.05)))
    assert np.mean(plain) > 0.1
    assert np.mean(weighted) < 0.08


def test_images_of_one_patient_share_their_weight_and_those_on_no_side_have_one() -> None:
    features, groups, tested, reference = sides(1, 0.5)
    groups = groups // 2
    weights = weights_of(features, groups, tested[:-2], reference).of_row
    assert (weights[::2] == weights[1::2]).all()
    assert weights[tested[-2:]].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (sides(0, 4.0), "tells the sides apart with an AUROC of"),
        (sides(0, 1.8, patients=60), "reference patients are worth"),
        (sides(0, 0.0, patients=10), "at least 20 patients, there are 10"),
    ],
)
def test_sides_with_too_little_in_common_are_refused(case: Sides, message: str) -> None:
    with pytest.raises(MembershipError, match=message) as caught:
        weights_of(*case)
    assert "--unused DIR" in str(caught.value)
