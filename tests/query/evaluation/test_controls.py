"""Controls: nothing is found where nothing is, a planted difference of grey levels is."""

import numpy as np
import pytest

from embeddings.phantoms.slices import phantom
from query.evaluation.controls import Control, halves, intensity, intensity_features, shuffled

RNG = np.random.default_rng(8)
USED = np.arange(80) < 40
GROUPS = np.arange(80) // 2
SCORES = USED * 3 + RNG.normal(size=40)[GROUPS]


def test_shuffled_labels_lie_around_one_half_whatever_the_scores() -> None:
    found = shuffled(SCORES, USED, GROUPS, draws=400)
    assert found.control is Control.SHUFFLED
    assert found.mean == pytest.approx(0.5, abs=0.02)
    assert found.low < 0.4 < 0.6 < found.high < 0.9


@pytest.mark.parametrize("kind", [True, False])
def test_a_kind_against_itself_does_not_see_the_difference_to_the_other(kind: bool) -> None:
    found = halves(SCORES, USED, GROUPS, kind, draws=400)
    assert (found.control, found.draws) == (Control.USED if kind else Control.NOT_USED, 400)
    assert found.mean == pytest.approx(0.5, abs=0.03)
    assert found.low < 0.4 < 0.6 < found.high


def test_groups_of_a_kind_stay_whole() -> None:
    """Two groups of 20 equal scores each: whichever is where, one lies wholly above the other."""
    found = halves(np.repeat([0.0, 1.0], 20), np.ones(40, bool), np.repeat([0, 1], 20), True, draws=200)
    assert (found.low, found.high) == (0, 1)


def test_one_group_has_no_halves() -> None:
    found = halves(SCORES[:3], USED[:3], [0, 0, 0], True)
    assert found.draws == 0
    assert np.isnan(found.mean)


def test_grey_levels_are_described() -> None:
    image = np.arange(200, dtype=np.uint8).reshape(10, 20)
    ((mean, spread, *quantiles),) = intensity_features([image])
    assert (mean, spread, quantiles[3]) == (image.mean(), image.std(), np.median(image))
    assert intensity_features([]).shape == (0, 9)


def test_a_planted_brightness_is_found_and_its_absence_is_not() -> None:
    images = [phantom(seed, 48).astype(np.float64) for seed in range(80)]
    plain = intensity_features([image.astype(np.uint8) for image in images])
    lifted = [image + 60 * used for image, used in zip(images, USED, strict=True)]
    brighter = intensity_features([image.clip(0, 255).astype(np.uint8) for image in lifted])
    found = intensity(brighter, USED, GROUPS, fits=19)
    assert found.area.low > 0.7
    assert found.p_value == 1 / 20
    assert intensity(plain, USED, GROUPS, fits=1).area.low < 0.5


def test_a_group_is_judged_by_models_that_did_not_see_it() -> None:
    """Features that name the group and tell nothing else: a model that saw the group would know its label."""
    features = np.eye(40)[GROUPS]
    assert intensity(features, USED, GROUPS, fits=1).area.value < 0.6
    single = intensity(features, USED, np.arange(80), fits=1)  # the same without groups: it did see the other image
    assert single.area.value > 0.8


def test_too_few_groups_are_said_to_be_so() -> None:
    found = intensity(RNG.random((4, 9)), [True, True, False, False], [0, 1, 2, 2])
    assert np.isnan(found.area.value)
    assert "one kind has 1" in found.reason


@pytest.mark.slow
def test_permuted_labels_are_seldom_significant() -> None:
    p_values = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(20), 2)
        used = (rng.permutation(20) < 10)[groups]
        p_values.append(intensity(rng.normal(size=(20, 3))[groups], used, groups, fits=19, seed=seed).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 100)
