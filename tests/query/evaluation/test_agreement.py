"""Agreement between readers: against scikit-learn, worked examples of others, and labels drawn with a known agreement."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from query.evaluation.agreement import MISSING, agreement_interval, cohen_kappa, fleiss_kappa, krippendorff_alpha

# The "C" data of Krippendorff, as R's irr and DescTools have it in their documentation of kripp.alpha: 12 units, 4 observers.
C = [1, 1, 0, 1, 2, 2, 3, 2, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 1, 2, 3, 4, 4, 4, 4, 4, 1, 1, 2, 1, 2, 2, 2, 2]
C += [0, 5, 5, 5, 0, 0, 1, 1, 0, 0, 3, 0]
KRIPPENDORFF = np.array(C).reshape(12, 4) - 1  # 0 stands for a missing label and becomes MISSING


def test_cohen_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = rng.integers(3, size=(30, 2))
        assert cohen_kappa(labels) == pytest.approx(cohen_kappa_score(*labels.T))
    gaps = np.where(rng.random(labels.shape) < 0.2, MISSING, labels)
    both = gaps[(gaps != MISSING).all(axis=1)]
    assert cohen_kappa(gaps) == pytest.approx(cohen_kappa_score(*both.T))


def test_alpha_is_that_of_the_worked_example() -> None:
    assert krippendorff_alpha(KRIPPENDORFF) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(KRIPPENDORFF[:, ::-1]) == krippendorff_alpha(KRIPPENDORFF)


def test_fleiss_is_the_mean_over_pairs_of_readers() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=(40, 4))
    shares = np.bincount(labels.ravel()) / labels.size
    chance = (shares**2).sum()
    agree = np.mean([(labels[:, a] == labels[:, b]).mean() for a in range(4) for b in range(a)])
    assert fleiss_kappa(labels) == pytest.approx((agree - chance) / (1 - chance))
    assert krippendorff_alpha(labels) == pytest.approx(fleiss_kappa(labels), abs=0.02)  # equal up to a correction for few labels


def test_all_alike_is_undefined_and_full_agreement_is_no_certainty() -> None:
    same = np.zeros((10, 3), int)
    for coefficient in (fleiss_kappa, krippendorff_alpha):
        assert np.isnan(coefficient(same))
    assert np.isnan(cohen_kappa(np.empty((0, 2), int)))
    agreed = np.repeat(np.arange(12) % 2, 2).reshape(12, 2)
    few, many = (agreement_interval(cohen_kappa, np.tile(agreed, (times, 1)), np.arange(12 * times)) for times in (1, 10))
    assert few.value == few.high == many.value == 1
    assert few.low < many.low < 1
    of_one_patient = agreement_interval(cohen_kappa, agreed, np.arange(12) // 4)
    assert of_one_patient.low < few.low


@pytest.mark.slow
def test_the_interval_holds_the_agreement_that_labels_were_drawn_with() -> None:
    rng, held = np.random.default_rng(2), 0
    for seed in range(40):
        first = rng.integers(2, size=60)
        second = np.where(rng.random(60) < 0.6, first, rng.integers(2, size=60))  # 0.6 beyond chance, which is a half
        found = agreement_interval(cohen_kappa, np.stack([first, second], axis=1), np.arange(60), seed=seed)
        held += found.low <= 0.6 <= found.high
    assert held >= 34


def test_two_readers_at_least_and_two_for_cohen() -> None:
    with pytest.raises(ValueError, match="two readers"):
        cohen_kappa(np.zeros((3, 3), int))
    with pytest.raises(ValueError, match="two readers or more"):
        fleiss_kappa(np.zeros((3, 1), int))
