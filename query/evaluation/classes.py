"""Decisions between several classes, held against what is true: accuracy, Cohen's kappa and more, with intervals by group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from query.evaluation.classification import Floats, ratio
from query.evaluation.reliability import Bin, reliability
from query.evaluation.resampling import DRAWS, Estimate, grouped_proportion, interval_of, resamples


class ClassMeasure(StrEnum):
    """What is measured of decisions between classes."""

    KAPPA = "kappa"  # Cohen (1960)
    ACCURACY = "accuracy"
    BALANCED_ACCURACY = "balanced_accuracy"  # mean of the shares of each class that are decided rightly
    LOG_LOSS = "log_loss"  # mean of -log of the probability of the true class


@dataclass(frozen=True)
class ClassEvaluation:
    """How good decisions between classes are.

    Attributes:
        classes: their names.
        confusion: (true, decided) int64 counts.
        measures: with intervals by group; chance gives a kappa of 0 and a balanced accuracy of 1 / classes.
        largest: accuracy of whoever always names the most frequent class.
        uniform: log loss of whoever finds all classes equally probable.
        reliability: of the probability of the class decided for, see `query.evaluation.reliability`.
    """

    classes: Sequence[str]
    confusion: NDArray[np.int64]
    measures: Mapping[ClassMeasure, Estimate]
    largest: float
    uniform: float
    reliability: Sequence[Bin]


def evaluate_classes(
    probability: ArrayLike, true: ArrayLike, classes: Sequence[str], groups: ArrayLike, *, draws: int = DRAWS, seed: int = 0
) -> ClassEvaluation:
    """Hold the most probable class of each row against the true one.

    Args:
        probability: (n, classes) 0..1.
        true: (n,) number of the true class.
        classes: their names.
        groups: (n,) of any type that can be sorted; resampling goes by whole groups.
        draws, seed: of resamples.
    """
    chances, members, of = np.asarray(probability, np.float64), np.asarray(true, np.int64), np.asarray(groups)
    decided = chances.argmax(axis=1)
    right = decided == members
    accuracy, count = grouped_proportion(right, of), len(np.unique(of))
    loss = log_losses(chances, members)
    confusion = confusion_of(members, decided, len(classes))
    values = {**kappa_and_balanced(confusion), ClassMeasure.LOG_LOSS: np.array(loss.mean() if len(loss) else np.nan)}
    drawn = _resampled(_cells(members, decided, loss, of, len(classes)), draws, seed)
    found = {name: interval_of(float(value), drawn[name], count) for name, value in values.items()}
    if right.all() and len(right):
        found |= _without_error(members, of, accuracy)
    measures = {name: accuracy if name is ClassMeasure.ACCURACY else found[name] for name in ClassMeasure}
    bins = reliability(chances.max(axis=1, initial=0), right, of)
    largest = float(confusion.sum(axis=1).max() / max(1, len(members)))
    return ClassEvaluation(list(classes), confusion, measures, largest, float(np.log(len(classes))), bins)


def _cells(true: NDArray[np.int64], decided: NDArray[np.int64], loss: Floats, groups: NDArray[Any], classes: int) -> Floats:
    """(groups, classes^2 + 1) confusion of each group, and its sum of losses."""
    _, member = np.unique(groups, return_inverse=True)
    cells = np.zeros((int(member.max(initial=-1)) + 1, classes**2 + 1))
    np.add.at(cells, (member, true * classes + decided), 1)
    cells[:, -1] = np.bincount(member, loss, len(cells))
    return cells


def _resampled(cells: Floats, draws: int, seed: int) -> dict[ClassMeasure, Floats]:
    """Measures of resamples of whole groups, (draws,) each."""
    sums = np.array([cells[sample].sum(axis=0) for sample in resamples(len(cells), draws, seed)]).reshape(draws, -1)
    side = round((cells.shape[1] - 1) ** 0.5)
    confusion = sums[:, :-1].reshape(-1, side, side)
    return {**kappa_and_balanced(confusion), ClassMeasure.LOG_LOSS: ratio(sums[:, -1], confusion.sum(axis=(1, 2)))}


def _without_error(true: NDArray[np.int64], groups: NDArray[Any], accuracy: Estimate) -> dict[ClassMeasure, Estimate]:
    """Intervals where no decision was wrong and resampling says nothing: from the lower ends of the shares that are right."""
    present = np.unique(true)
    lows = [grouped_proportion(np.ones(int((true == each).sum()), bool), groups[true == each]).low for each in present]
    by_chance = float(((np.bincount(true) / len(true)) ** 2).sum())
    kappa = float(ratio(accuracy.low - by_chance, 1 - by_chance))
    known = Estimate(1.0 if len(present) > 1 else float("nan"), kappa, 1.0, accuracy.n)
    return {ClassMeasure.KAPPA: known, ClassMeasure.BALANCED_ACCURACY: Estimate(1.0, float(np.mean(lows)), 1.0, accuracy.n)}


def confusion_of(true: NDArray[np.int64], decided: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(true, decided) counts."""
    return np.bincount(true * classes + decided, minlength=classes**2).reshape(classes, classes)


def kappa_and_balanced(confusion: NDArray[Any]) -> dict[ClassMeasure, Floats]:
    """Cohen's kappa, and the mean recall of the classes that occur, of (..., true, decided) counts; NaN where undefined."""
    n, rows, columns = confusion.sum(axis=(-2, -1)), confusion.sum(axis=-1), confusion.sum(axis=-2)
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    by_chance = (rows * columns).sum(axis=-1)
    kappa = ratio(n * right.sum(axis=-1) - by_chance, np.square(n, dtype=np.float64) - by_chance)
    balanced = ratio(np.nan_to_num(ratio(right, rows)).sum(axis=-1), (rows > 0).sum(axis=-1))
    return {ClassMeasure.KAPPA: kappa, ClassMeasure.BALANCED_ACCURACY: balanced}


def log_losses(probability: NDArray[np.float64], true: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) -log of the probability of the true class; one below 1e-12 counts as that."""
    return np.asarray(-np.log(np.maximum(probability[np.arange(len(true)), true], 1e-12)))
