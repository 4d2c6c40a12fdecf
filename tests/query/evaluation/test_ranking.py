"""ROC, its areas and rates against scikit-learn, brute force and simulation."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score, roc_curve

from query.evaluation.ranking import auroc_interval, partial_auroc, partial_interval, roc, true_rate
from query.evaluation.resampling import auroc, grouped_interval

RNG = np.random.default_rng(3)


def drawn(rng: np.random.Generator, levels: int, images: int = 60) -> tuple[np.ndarray, np.ndarray]:
    used = rng.random(images) < 0.4
    used[:2] = True, False
    return rng.integers(0, levels, images) + used, used


Sample = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # scores, labels and groups


def clustered(rng: np.random.Generator, groups: int, size: int, alike: float, apart: float) -> Sample:
    """Scores, labels and groups: images of a group correlate by `alike`, used ones lie `apart` standard deviations higher."""
    member = np.repeat(np.arange(groups), size)
    used = member % 2 == 0
    noise = np.sqrt(alike) * rng.normal(size=groups)[member] + np.sqrt(1 - alike) * rng.normal(size=len(member))
    return apart * used + noise, used, member


@pytest.mark.parametrize("levels", [2, 7, 10_000])
def test_roc_and_partial_area_are_those_of_scikit_learn(levels: int) -> None:
    for _ in range(30):
        scores, used = drawn(RNG, levels)
        false, true = roc(scores, used)
        assert [false, true] == [pytest.approx(side) for side in roc_curve(used, scores, drop_intermediate=False)[:2]]
        for most in (0.1, 0.5):
            assert partial_auroc(scores, used, most) == pytest.approx(roc_auc_score(used, scores, max_fpr=most), abs=1e-12)
        assert np.trapezoid(true, false) == pytest.approx(auroc(scores, used))


def test_one_kind_alone_has_no_area() -> None:
    assert np.isnan(partial_auroc([1.0, 2], [True, True]))
    assert np.isnan(auroc_interval([1.0, 2], [True, True], [0, 1]).low)
    assert np.isnan(auroc_interval([1.0, 2], [True, False], [0, 0]).low)  # one group


def test_the_interval_survives_one_and_shrinks_with_images() -> None:
    lows = []
    for each in (5, 20, 100):
        used = np.arange(2 * each) < each
        found = auroc_interval(used * 1.0, used, np.arange(2 * each))
        assert (found.value, found.high) == (1, 1)
        lows.append(found.low)
    assert 0.5 < lows[0] < lows[1] < lows[2] < 1
    used = np.arange(200) < 100
    grouped = auroc_interval(used * 1.0, used, np.arange(200) // 5)
    assert grouped.low == pytest.approx(lows[1], abs=0.01)  # 20 groups of each kind say as much as 20 images


def test_the_interval_of_single_images_is_near_the_bootstrap_and_mirrors() -> None:
    scores, used, _ = clustered(RNG, 400, 1, 0, 1.2)
    found = auroc_interval(scores, used, np.arange(400))
    plain = grouped_interval(lambda rows: auroc(scores[rows], used[rows]), np.arange(400), draws=1000)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.015)
    turned = auroc_interval(-scores, used, np.arange(400))
    assert (turned.low, turned.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-9)


def test_copies_of_an_image_tell_no_more_than_one() -> None:
    scores, used, groups = clustered(RNG, 100, 1, 0, 1)
    once = auroc_interval(scores, used, groups)
    copied = np.repeat(scores, 5), np.repeat(used, 5), np.repeat(groups, 5)
    found = auroc_interval(*copied)
    assert (found.low, found.high) == pytest.approx((once.low, once.high), abs=0.003)  # wider by t against z
    assert found.low < once.low < once.high < found.high
    naive = auroc_interval(copied[0], copied[1], np.arange(500))
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("area", [0.5, 0.95, 0.99])
def test_the_interval_covers_as_often_as_it_says(alike: float, area: float) -> None:
    """95%, with 40 groups of 5 images. At 0.99 many samples are all in order; a bootstrap by groups covers 63% to 92%."""
    covered = 0
    for seed in range(300):
        found = auroc_interval(*clustered(np.random.default_rng(seed), 40, 5, alike, apart(area)))
        covered += found.low <= area <= found.high
    assert covered >= 300 * 0.95 - 2.6 * np.sqrt(300 * 0.95 * 0.05)


def test_the_interval_covers_where_groups_hold_both_kinds_and_few_are_used() -> None:
    covered = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        scores, _, groups = clustered(rng, 50, 4, 0.6, 0)
        used = rng.random(200) < 0.15
        found = auroc_interval(scores + apart(0.9) * used, used, groups)  # what a group shares may hide or help
        covered += found.low <= 0.9 <= found.high
    assert covered >= 300 * 0.95 - 2.6 * np.sqrt(300 * 0.95 * 0.05)


def test_the_interval_covers_where_groups_are_of_unequal_size_and_errors_rare() -> None:
    """In 174 of 400 such samples all pairs are in order."""
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(50), np.minimum(20, rng.geometric(0.25, 50)))
        used, noise = groups % 2 == 0, np.sqrt(0.95) * rng.normal(size=50)[groups] + np.sqrt(0.05) * rng.normal(size=len(groups))
        found = auroc_interval(apart(0.998) * used + noise, used, groups)
        covered += found.low <= 0.998 <= found.high
    assert covered >= 200 * 0.95 - 2.6 * np.sqrt(200 * 0.95 * 0.05)


FEW = {
    "8 x 10, 80 x 1": ([10] * 8, [1] * 80),
    "5 x 20, 60 x 1": ([20] * 5, [1] * 60),
    "8 x 10, 8 x 10": ([10] * 8, [10] * 8),
    "unequal": ([1, 2, 3, 5, 8, 9, 13, 17, 21, 25, 28, 30], [30, 2, 1, 1, 7, 11, 14, 19, 22, 23, 26, 27]),
}


@pytest.mark.parametrize("law", list(FEW))
@pytest.mark.parametrize(("area", "alike"), [(0.7, 0.3), (0.87, 0.95)])
def test_the_interval_covers_where_either_side_has_few_groups_or_unequal_ones(law: str, area: float, alike: float) -> None:
    """Before there was a design effect for each side it covered 66% to 94%."""
    used = np.repeat([True, False], [sum(sizes) for sizes in FEW[law]])
    groups = np.repeat(np.arange(sum(map(len, FEW[law]))), [size for sizes in FEW[law] for size in sizes])
    covered, rng = 0, np.random.default_rng(9)
    for _ in range(400):
        noise = np.sqrt(alike) * rng.normal(size=groups[-1] + 1)[groups] + np.sqrt(1 - alike) * rng.normal(size=len(groups))
        found = auroc_interval(apart(area) * used + noise, used, groups)
        covered += found.low <= area <= found.high
    assert covered >= 400 * 0.95 - 2.6 * np.sqrt(400 * 0.95 * 0.05)


def test_copies_on_one_side_leave_the_other_as_it_is() -> None:
    """Against Newcombe's equation for 12 and 300 independent images, and a t quantile for 12 groups."""
    scores, used = np.concatenate([RNG.normal(1, 1, 12), RNG.normal(0, 1, 300)]), np.arange(312) < 12
    times = np.where(used, 10, 1)
    found = auroc_interval(np.repeat(scores, times), np.repeat(used, times), np.repeat(np.arange(312), times))
    quantile = t.ppf(0.975, (1 / 12 + 1 / 300) ** 2 / (1 / 12**2 / 11))
    for end in (found.low, found.high):
        spread = (1 - end) / (2 - end) + end / (1 + end)
        variance = end * (1 - end) * (1 + ((12 + 300) / 2 - 1) * spread) / (12 * 300)
        assert abs(found.value - end) == pytest.approx(quantile * np.sqrt(variance), abs=1e-9)


def apart(area: float) -> float:
    """How far apart two normal distributions are that have this AUROC."""
    return float(np.sqrt(2) * norm.ppf(area))


def brute_rate(scores: np.ndarray, used: np.ndarray, groups: np.ndarray, asked: float) -> tuple[float, float]:
    """True and false positive rate, image by image."""
    hits = []
    for score, group in zip(scores, groups, strict=True):
        others = scores[~used & (groups != group)]
        hits.append((1 + (others >= score).sum()) / (1 + len(others)) <= asked + 1e-12)
    hit = np.array(hits)
    return float(hit[used].mean()), float(hit[~used].mean())


@pytest.mark.parametrize("asked", [0.05, 0.1])
def test_rates_are_judged_by_negatives_of_other_groups(asked: float) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores, used = drawn(rng, 30, 150)
        groups = rng.integers(0, 60, 150)
        found = true_rate(scores, used, groups, asked, draws=20)
        assert (found.true.value, found.false) == pytest.approx(brute_rate(scores, used, groups, asked))
        assert found.true.low <= found.true.value <= found.true.high


def test_the_false_positive_rate_is_kept_on_average() -> None:
    """A threshold taken from the negatives that it is then counted on would be kept exactly, and exceeded by new ones."""
    kept = [true_rate(*clustered(np.random.default_rng(seed), 60, 4, 0.9, 1), 0.1, draws=1).false for seed in range(150)]
    assert np.mean(kept) <= 0.1 + 2.6 * np.std(kept) / np.sqrt(150)


def test_a_rate_below_one_in_n_is_not_estimable() -> None:
    for negatives, known in ((99, False), (100, True)):
        used = np.arange(2 * negatives) < negatives
        found = true_rate(used * 1.0, used, np.arange(2 * negatives), 0.01, draws=20)
        assert np.isnan(found.true.value) != known
        assert bool(found.reason) != known
    assert found.true.value == 1
    assert 0.95 < found.true.low < 1 == found.true.high
    assert "needs 100" in true_rate([1.0, 0], [True, False], [0, 1], 0.01).reason
    assert true_rate([1.0, 0], [False, False], [0, 1], 0.5).reason == "no image is used"


def test_a_partial_area_of_one_has_a_lower_end() -> None:
    used = np.arange(200) < 100
    found = partial_interval(used * 1.0, used, np.arange(200), draws=20)
    assert (found.value, found.high) == (1, 1)
    assert 0.6 < found.low < 1
    scores, used = drawn(RNG, 20, 200)
    found = partial_interval(scores, used, np.arange(200), draws=100)
    assert found.low < found.value < found.high
