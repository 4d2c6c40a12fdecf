"""Metrics against brute force, scikit-learn and SciPy."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from query.evaluation.resampling import auroc, grouped_interval, grouped_proportion

RNG = np.random.default_rng(5)


def all_pairs(scores: np.ndarray, used: np.ndarray) -> float:
    """The definition of the AUROC."""
    difference = scores[used][:, None] - scores[~used][None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_auroc_is_the_share_of_ordered_pairs(levels: int) -> None:
    for _ in range(50):
        used = RNG.random(40) < 0.4
        used[:2] = True, False
        scores = RNG.integers(0, levels, 40) + used
        expected = all_pairs(scores, used)
        assert auroc(scores, used) == pytest.approx(expected, abs=1e-12)
        assert expected == pytest.approx(roc_auc_score(used, scores), abs=1e-12)
        statistic = stats.mannwhitneyu(scores[used], scores[~used]).statistic
        assert expected == pytest.approx(statistic / (used.sum() * (~used).sum()), abs=1e-12)


def test_auroc_of_one_class_is_undefined() -> None:
    assert np.isnan(auroc([1.0, 2.0], [True, True]))
    assert np.isnan(auroc([], []))


def test_auroc_refuses_what_cannot_be_ranked() -> None:
    with pytest.raises(ValueError, match="1 are not"):
        auroc([1.0, np.nan], [True, False])
    with pytest.raises(ValueError, match="alike"):
        auroc([1.0, 2.0], [True])


def test_an_interval_of_single_images_is_the_plain_bootstrap() -> None:
    values = RNG.normal(size=60)
    found = grouped_interval(lambda rows: float(values[rows].mean()), np.arange(60), draws=4000)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.03)
    assert found.value == pytest.approx(values.mean())
    assert (found.n, found.undefined) == (60, 0)


def test_groups_are_drawn_whole() -> None:
    groups = RNG.permutation(np.repeat(["a", "b", "c", "d"], [1, 2, 3, 4]))
    members = {name: set(np.flatnonzero(groups == name)) for name in "abcd"}
    sizes = set()

    def statistic(rows: np.ndarray) -> float:
        times = {name: [int((rows == row).sum()) for row in rows_of] for name, rows_of in members.items()}
        assert all(len(set(counts)) == 1 for counts in times.values())  # all rows of a group equally often
        assert sum(counts[0] for counts in times.values()) == 4
        sizes.add(len(rows))
        return 0.0

    grouped_interval(statistic, groups, draws=100)
    assert len(sizes) > 1


def mean_of(values: NDArray[np.float64], rows: NDArray[np.int64]) -> float:
    return float(values[rows].mean())


def test_a_grouped_interval_covers_as_often_as_it_says() -> None:
    """Images of one group are copies of each other, so an interval that took them for independent would be far too narrow."""
    covered = 0
    for seed in range(100):
        mean_of_group = np.random.default_rng(seed).normal(size=40)
        groups = np.repeat(np.arange(40), 8)
        values = mean_of_group[groups]
        found = grouped_interval(partial(mean_of, values), groups, draws=200, seed=seed)
        covered += found.low <= 0 <= found.high
    assert 88 <= covered <= 99  # 95% of 100; an ungrouped bootstrap covers about 50%


def test_undefined_resamples_are_left_out_and_counted() -> None:
    used = np.array([True, False, False])
    scores = np.array([1.0, 0.0, 0.5])
    found = grouped_interval(lambda rows: auroc(scores[rows], used[rows]), np.arange(3), draws=3000)
    undefined = (2 / 3) ** 3 + (1 / 3) ** 3  # no used image drawn, or nothing else
    assert found.undefined / 3000 == pytest.approx(undefined, abs=0.03)
    assert (found.value, found.low, found.high) == (1, 1, 1)


@pytest.mark.parametrize("groups", [[], ["a", "a", "a"]])
def test_one_group_gives_no_interval(groups: list[str]) -> None:
    found = grouped_interval(lambda rows: float(len(rows)), groups)
    assert found.value == len(groups)
    assert np.isnan([found.low, found.high]).all()
    share = grouped_proportion([True] * len(groups), groups)
    assert np.isnan([share.low, share.high]).all()
    assert np.isnan(share.value) == (not groups)


def test_a_seed_gives_the_same_interval() -> None:
    values = RNG.normal(size=30)
    found = [grouped_interval(lambda rows: float(values[rows].mean()), np.arange(30) % 10, draws=50, seed=s) for s in (3, 3, 4)]
    assert found[0] == found[1] != found[2]


def test_what_groups_are_called_changes_no_interval() -> None:
    rng = np.random.default_rng(5)
    scores, members, groups = rng.normal(size=40), rng.random(40) < 0.5, rng.integers(0, 15, 40)
    called = rng.permutation(15)[groups].astype(str)
    area = [grouped_interval(lambda rows: auroc(scores[rows], members[rows]), of) for of in (groups, called)]
    share = [grouped_proportion(members, of) for of in (groups, called)]
    assert (area[0], share[0]) == (area[1], share[1])


def test_a_proportion_of_single_images_is_clopper_and_pearsons() -> None:
    hits = np.arange(60) < 17
    found, exact = grouped_proportion(hits, RNG.permutation(60)), stats.binomtest(17, 60).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_a_proportion_of_copies_is_that_of_their_groups() -> None:
    """Korn and Graubard's interval of 20 trials, shortened by (z / t)^2 with 19 degrees of freedom."""
    found = grouped_proportion(np.repeat(np.arange(20) < 6, 8), np.repeat(np.arange(20), 8))
    trials = 20 * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 19)) ** 2
    hits = 0.3 * trials
    ends = stats.beta.ppf(0.025, hits, trials - hits + 1), stats.beta.ppf(0.975, hits + 1, trials - hits)
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-9)


@pytest.mark.parametrize("sizes", [[10] * 6, [10] * 20, [1, 2, 3, 5, 8, 9, 13, 17, 21, 25, 28, 30]], ids=["6", "20", "unequal"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_proportion_covers_with_few_groups(sizes: list[int], share: float) -> None:
    """A percentile bootstrap by groups covers 83% to 93% here."""
    rng, covered, groups = np.random.default_rng(4), 0, np.repeat(np.arange(len(sizes)), sizes)
    for _ in range(300):
        own = rng.beta(share * 7 / 3, (1 - share) * 7 / 3, len(sizes))  # 0.3 of the variance is the group's
        found = grouped_proportion(rng.random(len(groups)) < own[groups], groups)
        covered += found.low <= share <= found.high
    assert covered >= 300 * 0.93 - 2.6 * np.sqrt(300 * 0.93 * 0.07)


@pytest.mark.parametrize("number", [8, 15])
def test_an_interval_covers_with_few_groups(number: int) -> None:
    """Plain percentiles cover 87% and 91%."""
    rng, covered, groups = np.random.default_rng(2), 0, np.repeat(np.arange(number), 4)
    for seed in range(200):
        values = (rng.normal(size=(number, 1)) + rng.normal(size=(number, 4))).ravel()
        found = grouped_interval(partial(mean_of, values), groups, draws=400, seed=seed)
        covered += found.low <= 0 <= found.high
    assert covered >= 200 * 0.95 - 2.6 * np.sqrt(200 * 0.95 * 0.05)


def test_a_proportion_at_its_limit_has_the_exact_interval_of_its_groups() -> None:
    groups = np.repeat(np.arange(12), 5)
    sure = stats.binomtest(12, 12).proportion_ci(method="exact")
    never = stats.binomtest(0, 12).proportion_ci(method="exact")
    for hits, exact in ((np.ones(60, bool), sure), (np.zeros(60, bool), never)):
        found = grouped_proportion(hits, groups)
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize("options", [{"draws": 0}, {"level": 0.0}, {"level": 1.0}])
def test_senseless_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        grouped_interval(lambda rows: 0.0, [1, 2], **options)
    if "level" in options:
        with pytest.raises(ValueError, match="must be"):
            grouped_proportion([True, False], [1, 2], **options)
