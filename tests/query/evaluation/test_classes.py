"""Decisions between classes, held against scikit-learn and against formulas worked out by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score, confusion_matrix, log_loss

from query.evaluation.classes import ClassMeasure, evaluate_classes
from query.evaluation.resampling import grouped_interval

CLASSES = ["a", "b", "c"]


def drawn(n: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, n)
    chances = rng.dirichlet(np.ones(3), n) + 0.7 * np.eye(3)[true]
    return chances / chances.sum(axis=1, keepdims=True), true, rng.integers(0, 25, n)


def test_values_equal_those_of_scikit_learn() -> None:
    chances, true, groups = drawn()
    found, decided = evaluate_classes(chances, true, CLASSES, groups, draws=20), chances.argmax(axis=1)
    assert (found.confusion == confusion_matrix(true, decided)).all()
    expected = {
        ClassMeasure.KAPPA: cohen_kappa_score(true, decided),
        ClassMeasure.ACCURACY: accuracy_score(true, decided),
        ClassMeasure.BALANCED_ACCURACY: balanced_accuracy_score(true, decided),
        ClassMeasure.LOG_LOSS: log_loss(true, chances),
    }
    assert {name: each.value for name, each in found.measures.items()} == pytest.approx(expected)
    assert next(iter(found.measures)) is ClassMeasure.KAPPA
    assert found.largest == np.bincount(true).max() / len(true)


def test_intervals_are_those_of_resampled_groups() -> None:
    chances, true, groups = drawn()
    decided, found = chances.argmax(axis=1), evaluate_classes(chances, true, CLASSES, groups, draws=60, seed=3)
    one_by_one = grouped_interval(lambda rows: cohen_kappa_score(true[rows], decided[rows]), groups, draws=60, seed=3)
    kappa = found.measures[ClassMeasure.KAPPA]
    assert kappa.low < kappa.value < kappa.high
    assert kappa.high - kappa.low == pytest.approx(one_by_one.high - one_by_one.low, rel=0.5)  # groups are drawn in another order


def test_without_any_error_the_interval_is_as_wide_as_the_number_of_groups_says() -> None:
    true = np.repeat([0, 1], 10)
    found = evaluate_classes(np.eye(2)[true], true, ["a", "b"], np.arange(20), draws=20)
    low = 0.025 ** (1 / 20)  # Clopper and Pearson, 20 of 20
    assert found.measures[ClassMeasure.ACCURACY].low == pytest.approx(low)
    assert found.measures[ClassMeasure.KAPPA].ends == pytest.approx((1, (low - 0.5) / 0.5, 1))
    assert found.measures[ClassMeasure.BALANCED_ACCURACY].ends == pytest.approx((1, 0.025 ** (1 / 10), 1))


def test_whoever_always_names_one_class_has_a_kappa_of_nothing() -> None:
    true = np.array([0, 0, 0, 1, 2])
    chances = np.tile([0.5, 0.3, 0.2], (5, 1))
    found = evaluate_classes(chances, true, CLASSES, np.arange(5), draws=20)
    assert found.measures[ClassMeasure.KAPPA].value == 0
    assert found.measures[ClassMeasure.BALANCED_ACCURACY].value == pytest.approx(1 / 3)
    assert found.measures[ClassMeasure.ACCURACY].value == found.largest == 0.6
