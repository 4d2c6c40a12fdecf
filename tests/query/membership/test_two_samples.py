"""The two-sample test: its statistics are those of other libraries, its level holds, one feature among many is found."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, norm, rankdata
from sklearn.kernel_ridge import KernelRidge

from query.evaluation.resampling import auroc
from query.membership import two_samples
from query.membership.two_samples import RIDGE, permutations, two_sample_test


def drawn(
    seed: int, first: int = 30, second: int = 30, features: int = 10, shift: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng([seed, 1])  # not the numbers that the test draws
    values = rng.normal(size=(first + second, features))
    values[:first, 0] += shift
    return values, np.arange(first + second) < first


def test_the_first_column_is_the_truth_and_the_others_have_as_many_of_each() -> None:
    labels = permutations(np.array([True, False, False, True, True]), np.random.default_rng(0))
    assert labels[:, 0].tolist() == [1, 0, 0, 1, 1]
    assert set(labels.sum(axis=0)) == {3}
    assert len({tuple(column) for column in labels.T}) == 10  # all there are


def test_rank_sums_are_those_of_mann_and_whitney_with_ties() -> None:
    values, first = drawn(1)
    values[:, 1] = np.round(values[:, 1])
    ranks = rankdata(values, axis=0)
    found = two_samples._rank_sums(ranks, first[:, None].astype(float))[:, 0]
    for feature, deviation in enumerate(found):
        told = mannwhitneyu(values[first, feature], values[~first, feature], use_continuity=False, method="asymptotic")
        assert 2 * norm.sf(abs(deviation)) == pytest.approx(told.pvalue)


def test_classifiers_are_kernel_ridge_regressions_of_the_other_folds() -> None:
    values, first = drawn(2, shift=1)
    found = next(iter(two_samples._classified(values, first[:, None].astype(float), np.random.default_rng(5))))[:, 0]
    fold = np.random.default_rng(5).permutation(len(values)) % two_samples.FOLDS
    for number in range(two_samples.FOLDS):
        rest, out = fold != number, fold == number
        fitted = KernelRidge(alpha=RIDGE * len(values), kernel="linear").fit(values[rest], first[rest] - first[rest].mean())
        assert np.allclose(found[out], fitted.predict(values[out]))


def test_areas_are_those_of_each_column_with_ties() -> None:
    rng = np.random.default_rng(3)
    scores, first = rng.integers(0, 5, (20, 6)).astype(float), rng.permutation(20) < 8
    labels = permutations(first, rng)[:, :6]
    expected = [auroc(scores[:, column], labels[:, column] == 1) for column in range(6)]
    assert np.allclose(two_samples._aurocs(scores, labels), expected)


def test_the_level_holds_for_few_patients_and_sides_of_different_size() -> None:
    p = []
    for seed in range(100):
        values, first = drawn(seed, 20, 6)
        rng = np.random.default_rng(seed)
        p.append(two_sample_test(values, permutations(first, rng), 0.05, rng).p_value)
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 100)
    assert np.mean(np.array(p) <= 0.5) >= 0.5 - 2.6 * np.sqrt(0.25 / 100)  # and not by never rejecting


def test_one_feature_of_thirty_is_found_and_named() -> None:
    values, first = drawn(4, 50, 50, 30, shift=2)
    rng = np.random.default_rng(0)
    found = two_sample_test(values, permutations(first, rng), 0.05, rng)
    assert found.p_value <= 0.01
    assert np.flatnonzero(found.adjusted <= 0.05).tolist() == [0]
    assert found.separation > 0.75


def test_a_difference_of_spread_alone_is_found_by_the_curved_classifier() -> None:
    values, first = drawn(5, 100, 100, 5)
    values[first] *= 3
    rng = np.random.default_rng(0)
    assert two_sample_test(values, permutations(first, rng), 0.05, rng).p_value <= 0.01


def test_features_that_never_vary_say_nothing() -> None:
    values, first = np.ones((10, 3)), np.arange(10) < 5
    rng = np.random.default_rng(0)
    found = two_sample_test(values, permutations(first, rng), 0.05, rng)
    assert (found.p_value, found.adjusted.tolist(), found.separation) == (1, [1, 1, 1], 0.5)
