"""Classification metrics of binary predictions: intervals by group, baselines, permutation tests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from query.evaluation.resampling import (
    DRAWS,
    LEVEL,
    Estimate,
    Rows,
    auroc,
    grouped_interval,
    grouped_proportion,
    interval_of,
    permuted_labels,
    resamples,
)

AUROC = "auroc"
TESTED = (AUROC, "accuracy", "balanced_accuracy", "f1")  # what is held against permuted labels
_ARRANGEMENTS = 20  # of labels: with fewer no p-value can reach 0.05
_ROUNDING = 1e-9

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Measure(StrEnum):
    """What is measured of yes-or-no decisions."""

    ACCURACY = "accuracy"
    PRECISION = "precision"
    RECALL = "recall"
    SPECIFICITY = "specificity"
    F1 = "f1"
    BALANCED_ACCURACY = "balanced_accuracy"
    KAPPA = "kappa"
    MCC = "mcc"


@dataclass(frozen=True)
class Counts:
    """A confusion table, or arrays of them; counts need not be whole where they are expected ones."""

    tp: ArrayLike
    fp: ArrayLike
    tn: ArrayLike
    fn: ArrayLike


def counts(decided: ArrayLike, used: ArrayLike) -> Counts:
    """The confusion table of yes-or-no decisions, (n,) bool each; or, with (draws, n) labels, one for each draw."""
    note, members = np.asarray(decided, np.float64), np.asarray(used, np.float64)
    positives = members.sum(axis=-1)
    tp = members @ note
    fp = note.sum() - tp
    return Counts(tp, fp, members.shape[-1] - positives - fp, positives - tp)


def measures(table: Counts) -> dict[Measure, Floats]:
    """Every measure of a confusion table, NaN where it is undefined: where it would divide by nothing.

    Kappa: Cohen (1960). MCC: Matthews (1975); it is undefined for decisions that are all alike, where scikit-learn says 0.
    """
    tp, fp, tn, fn = (np.asarray(value, np.float64) for value in (table.tp, table.fp, table.tn, table.fn))
    n = tp + fp + tn + fn
    recall, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    said_and_used, neither = (tp + fp) * (tp + fn), (tn + fn) * (tn + fp)
    return {
        Measure.ACCURACY: ratio(tp + tn, n),
        Measure.PRECISION: ratio(tp, tp + fp),
        Measure.RECALL: recall,
        Measure.SPECIFICITY: specificity,
        Measure.F1: ratio(2 * tp, 2 * tp + fp + fn),
        Measure.BALANCED_ACCURACY: (recall + specificity) / 2,
        Measure.KAPPA: ratio(n * (tp + tn) - said_and_used - neither, n * n - said_and_used - neither),
        Measure.MCC: ratio(tp * tn - fp * fn, np.sqrt(said_and_used * neither)),
    }


def by_chance(table: Counts) -> Counts:
    """What is expected of as many "used" drawn at random: the mean of the hypergeometric distribution.

    Every measure has a denominator that the margins fix, and is linear in the true positives; so its value here is exactly the
    expected one.
    """
    tp, fp, tn, fn = (np.asarray(value, np.float64) for value in (table.tp, table.fp, table.tn, table.fn))
    note, positives, negatives = tp + fp, tp + fn, tn + fp
    hits = ratio(note * positives, positives + negatives)
    return Counts(hits, note - hits, negatives - (note - hits), positives - hits)


def all_used(table: Counts) -> Counts:
    """The same images when every one is predicted used."""
    tp, fp, tn, fn = (np.asarray(value, np.float64) for value in (table.tp, table.fp, table.tn, table.fn))
    return Counts(tp + fn, fp + tn, np.zeros_like(tp), np.zeros_like(tp))


def measure_intervals(
    decided: ArrayLike, used: ArrayLike, groups: ArrayLike, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> dict[Measure, Estimate]:
    """Every measure with its interval by groups.

    Shares go through `grouped_proportion`, the others through resamples of groups. Without any error resampling says nothing:
    then the lower end is the measure at the lower ends of recall and specificity, both at the level ``1 - (1 - level) / 2``
    (Bonferroni), so that it is on the safe side.

    Args:
        decided, used: (n,) bool.
        groups: (n,), as `draws`, `seed` and `level` see `query.evaluation.resampling.grouped_interval`.
    """
    note, members, of = np.asarray(decided, bool), np.asarray(used, bool), np.asarray(groups)
    share = partial(grouped_proportion, level=level)
    right, number = note == members, len(np.unique(of))
    shares = {
        Measure.ACCURACY: share(right, of),
        Measure.PRECISION: share(members[note], of[note]),
        Measure.RECALL: share(note[members], of[members]),
        Measure.SPECIFICITY: share(~note[~members], of[~members]),
    }
    values = measures(counts(note, members))
    if right.all() and members.any() and not members.all():
        worst = measures(without_error(members, of, level))
        others = {name: Estimate(1.0, float(worst[name]), 1.0, number) for name in values}
    else:
        resampled = measures(_resampled(note, members, of, draws, seed))
        others = {name: interval_of(float(values[name]), resampled[name], number, level) for name in values}
    return others | shares


def _resampled(note: Bools, members: Bools, groups: NDArray[np.generic], draws: int, seed: int) -> Counts:
    """Confusion tables of resamples of groups, (draws,) each."""
    _, member = np.unique(groups, return_inverse=True)
    cells = np.stack([note & members, note & ~members, ~note & ~members, ~note & members])
    sums = np.stack([np.bincount(member, cell) for cell in cells], axis=1)  # (groups, 4)
    return Counts(*np.array([sums[sample].sum(axis=0) for sample in resamples(len(sums), draws, seed)]).T)


def without_error(members: Bools, groups: NDArray[np.generic], level: float) -> Counts:
    """The worst table that is still likely where no decision was wrong."""
    positives, negatives = float(members.sum()), float((~members).sum())
    recall, specificity = (_sure(groups[of], level) for of in (members, ~members))
    return Counts(positives * recall, negatives * (1 - specificity), negatives * specificity, positives * (1 - recall))


def _sure(groups: NDArray[np.generic], level: float) -> float:
    """Lower end of a share that is 1, of a pair of such ends: Clopper and Pearson's (1934), groups being the trials."""
    return float(((1 - level) / 2) ** (1 / len(np.unique(groups))))


# Chance and other methods


def permutation_p_values(
    scores: ArrayLike | None, decided: ArrayLike, used: ArrayLike, groups: ArrayLike, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, float]:
    """How often permuted labels give at least as good a value, ``(1 + those) / (1 + draws)`` (Phipson and Smyth, 2010).

    What is permuted, and why that may be, is said at `query.evaluation.resampling.permuted_labels`. A draw in which a value is
    undefined counts as at least as good.

    Args:
        scores: (n,) finite, larger for used; None where there are none.
        decided, used: (n,) bool.
        groups: (n,) of any type that can be sorted.

    Returns:
        Name in `TESTED` -> p; NaN where the value is undefined, or the labels can be arranged in too few ways to say anything.
    """
    members = np.asarray(used, bool)
    drawn = permuted_labels(members, groups, draws, seed)
    measured, chance = (_tested(scores, decided, labels) for labels in (members[None], drawn))
    if len({labels.tobytes() for labels in drawn}) < _ARRANGEMENTS:
        return dict.fromkeys(measured, float("nan"))
    return {name: _p_value(float(value[0]), chance[name]) for name, value in measured.items()}


def _tested(scores: ArrayLike | None, decided: ArrayLike, labels: Bools) -> dict[str, Floats]:
    """Every tested value, (draws,) each, of labels (draws, n)."""
    values = {str(name): value for name, value in measures(counts(decided, labels)).items() if name in TESTED}
    if scores is None:
        return values
    positives = labels.sum(axis=1).astype(np.float64)
    sums = labels.astype(np.float64) @ rankdata(scores)
    area = ratio(sums - positives * (positives + 1) / 2, positives * (labels.shape[1] - positives))
    return {AUROC: area} | values


def _p_value(value: float, chance: Floats) -> float:
    return float("nan") if np.isnan(value) else float((1 + np.sum(~(chance < value - _ROUNDING))) / (1 + len(chance)))


def paired_difference(
    statistic: Callable[[Rows, int], float], groups: ArrayLike, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Estimate:
    """How much better method 0 is than method 1 on the same images: both see the same resamples of groups.

    Where no resample differs from the others, as for two methods without any error, there is no interval.

    Args:
        statistic: of rows and the number of the method.
        groups: see `query.evaluation.resampling.grouped_interval`, as `draws`, `seed` and `level`.
    """
    gap = grouped_interval(lambda rows: statistic(rows, 0) - statistic(rows, 1), groups, draws=draws, seed=seed, level=level)
    return gap if gap.low < gap.high else Estimate(gap.value, np.nan, np.nan, gap.n, gap.undefined)


def paired_differences(
    scores: Sequence[ArrayLike | None], decided: Sequence[ArrayLike], used: ArrayLike, groups: ArrayLike, **how: Any
) -> dict[str, Estimate]:
    """`paired_difference` in AUROC (where both have scores), accuracy and F1 of two methods.

    Args:
        scores, decided: of either method, see `permutation_p_values`.
        used, groups: of the images that both have predicted.
        how: see `paired_difference`.
    """
    members = np.asarray(used, bool)
    note = [np.asarray(each, bool) for each in decided]

    def measure(name: Measure) -> Callable[[Rows, int], float]:
        return lambda rows, which: float(measures(counts(note[which][rows], members[rows]))[name])

    differences = {str(name): paired_difference(measure(name), groups, **how) for name in (Measure.ACCURACY, Measure.F1)}
    if any(each is None for each in scores):
        return differences
    values = [np.asarray(each, np.float64) for each in scores]
    area = paired_difference(lambda rows, which: auroc(values[which][rows], members[rows]), groups, **how)
    return {AUROC: area} | differences


def ratio(part: ArrayLike, whole: ArrayLike) -> Floats:
    """part / whole, NaN where whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    shares: Floats = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=shares, where=whole != 0)
    return shares
