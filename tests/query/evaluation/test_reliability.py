"""Brier score and reliability against scikit-learn."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from query.evaluation.reliability import brier, brier_of_share, reliability

RNG = np.random.default_rng(4)
SAID = RNG.random(300)
USED = RNG.random(300) < SAID
ALONE = np.arange(300)


def test_brier_is_that_of_scikit_learn() -> None:
    found = brier(SAID, USED, ALONE, draws=200)
    assert found.value == pytest.approx(brier_score_loss(USED, SAID))
    assert found.low < found.value < found.high < brier_of_share(USED)
    assert brier_of_share(USED) == pytest.approx(brier_score_loss(USED, np.full(300, USED.mean())))


def test_reliability_is_that_of_scikit_learn() -> None:
    bins = reliability(SAID, USED, ALONE)
    shares, means = calibration_curve(USED, SAID, n_bins=10)
    assert [b.used.value for b in bins] == pytest.approx(list(shares))
    assert [b.mean for b in bins] == pytest.approx(list(means))
    assert sum(b.images for b in bins) == 300
    assert all(b.low <= b.mean <= b.high for b in bins)


def test_what_was_calibrated_is_called_so_and_what_was_not_is_not() -> None:
    """P(used) is planted, so nearly all intervals hold it; squared it is far too low."""
    good, bad = (sum(b.used.low <= b.mean <= b.used.high for b in reliability(note, USED, ALONE)) for note in (SAID, SAID**3))
    assert good >= 8 > bad


def test_ends_belong_to_the_bins() -> None:
    bins = reliability([0.0, 1.0, 1.0], [False, True, True], [0, 1, 2])
    assert [(b.low, b.high, b.images) for b in bins] == [(0.0, 0.1, 1), (0.9, 1.0, 2)]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        brier([0.5, wrong], [True, False], [0, 1])
