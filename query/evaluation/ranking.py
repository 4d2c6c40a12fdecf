"""Ranking metrics of scores: ROC, AUROC, true positive rates, with intervals by group."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit
from scipy.stats import rankdata

from query.evaluation.classification import Bools, Floats, ratio, without_error
from query.evaluation.effective import by_group, effective_number
from query.evaluation.resampling import (
    DRAWS,
    LEVEL,
    Estimate,
    Rows,
    auroc,
    grouped_interval,
    grouped_proportion,
    interval_of,
    resamples,
)

MAX_FALSE = 0.1  # false positive rate up to which the partial AUROC counts
RATES = (0.01, 0.05, 0.1)  # false positive rates at which the true positive rate is asked for
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Rate:
    """True positive rate where the false positive rate is bounded.

    Attributes:
        asked: the bound.
        true: share of used images predicted used; its value is NaN where the rate is not estimable.
        false: share of the images not used that are predicted used by the same rule.
        reason: why it is not estimable, else empty.
    """

    asked: float
    true: Estimate
    false: float
    reason: str = ""


def auroc_interval(scores: ArrayLike, used: ArrayLike, groups: ArrayLike, level: float = LEVEL) -> Estimate:
    """The AUROC with an interval that has a width at 1 too: Newcombe (2006, Statistics in Medicine 25:559-573), method 5.

    It solves ``|area - theta| = t sd(theta)`` with Hanley and McNeil's (1982) standard deviation for exponential scores at equal
    sizes. Images of one group count for less than as many independent ones: each side has its effective number, by the
    variance of its structural components (DeLong et al., 1988; by groups: Obuchowski, 1997). What estimating those numbers adds
    is in t, whose degrees of freedom are Satterthwaite's (1946) for the sum over both sides; with one image of every group
    nothing is estimated, and t is the normal quantile.

    Args:
        scores, used: see `query.evaluation.resampling.auroc`.
        groups: (n,) of any type that can be sorted.
        level: of the interval.
    """
    values, members, of = np.asarray(scores, np.float64), np.asarray(used, bool), np.asarray(groups)
    area = auroc(values, members)
    _, member = np.unique(of, return_inverse=True)
    number = int(member.max(initial=-1)) + 1
    if np.isnan(area) or number < 2:
        return Estimate(area, np.nan, np.nan, number)
    pull, sides = _placements(values, members, area), (members, ~members)
    apart = sum(by_group(pull[side], member[side]) for side in sides)
    shared = by_group(pull, member) / apart if apart > _ROUNDING else 1.0  # below 1 where groups hold both kinds and agree
    (positives, of_positives), (negatives, of_negatives) = (effective_number(pull[side], member[side], shared) for side in sides)
    spread = 1 / positives**2 / of_positives + 1 / negatives**2 / of_negatives
    freedom = (1 / positives + 1 / negatives) ** 2 / spread if spread else np.inf
    quantile = stdtrit(freedom, (1 + level) / 2) if np.isfinite(freedom) else ndtri((1 + level) / 2)
    return Estimate(area, *_newcombe(area, positives, negatives, float(quantile)), number)


def _placements(values: Floats, members: Bools, area: float) -> Floats:
    """What each image adds to the AUROC's deviation: its share of ordered pairs less the mean, over the number of its kind."""
    ranks = rankdata(values)
    pull = np.empty(len(values))
    for side, other, sign in ((members, ~members, 1), (~members, members, -1)):
        above = (ranks[side] - rankdata(values[side])) / other.sum()  # share of the other kind below, ties half
        pull[side] = sign * (above - (area if sign > 0 else 1 - area)) / side.sum()
    return pull


def _newcombe(area: float, positives: float, negatives: float, quantile: float) -> tuple[float, float]:
    more = max(0.0, (positives + negatives) / 2 - 1)

    def deviation(theta: float) -> float:
        variance = theta * (1 - theta) * (1 + more * ((1 - theta) / (2 - theta) + theta / (1 + theta))) / (positives * negatives)
        return quantile * float(np.sqrt(variance))

    ends = []
    for end in (0.0, 1.0):
        near, far = area, end
        for _ in range(60):  # halving: near is inside the interval, far outside
            middle = (near + far) / 2
            near, far = (middle, far) if abs(area - middle) <= deviation(middle) else (near, middle)
        ends.append(near)
    return ends[0], ends[1]


def partial_auroc(scores: ArrayLike, used: ArrayLike, max_false: float = MAX_FALSE) -> float:
    """Area under the ROC up to a false positive rate, standardised so that 0.5 tells nothing and 1 everything (McClish, 1989).

    Args:
        scores, used: see `query.evaluation.resampling.auroc`.
        max_false: above 0, at most 1.
    """
    false, true = roc(scores, used)
    if np.isnan(false).any() or np.isnan(true).any():
        return float("nan")
    last = int(np.searchsorted(false, max_false, "right"))
    false = np.append(false[:last], max_false)
    true = np.append(true[:last], np.interp(max_false, *roc(scores, used)))
    least = max_false**2 / 2
    return float((1 + (np.trapezoid(true, false) - least) / (max_false - least)) / 2)


def roc(scores: ArrayLike, used: ArrayLike) -> tuple[Floats, Floats]:
    """False and true positive rates, one point for each distinct score from high to low, after the point (0, 0)."""
    values, members = np.asarray(scores, np.float64), np.asarray(used, bool)
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1) if len(values) else np.empty(0, np.int64)
    true, note = np.cumsum(members[order])[last], last + 1
    return _from_zero(note - true, np.sum(~members)), _from_zero(true, np.sum(members))


def _from_zero(part: NDArray[np.integer], whole: np.integer) -> Floats:
    return np.append(0.0, ratio(part.astype(np.float64), np.float64(whole)))


def partial_interval(
    scores: ArrayLike, used: ArrayLike, groups: ArrayLike, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Estimate:
    """`partial_auroc` with `grouped_interval`'s interval.

    At 1 resampling says nothing. Then the lower end is the area of the least favourable ROC through the point that one threshold
    is likely to reach, at the lower ends of recall and specificity, see `measure_intervals`.
    """
    values, members, of = np.asarray(scores, np.float64), np.asarray(used, bool), np.asarray(groups)
    if auroc(values, members) == 1:
        worst = without_error(members, of, level)
        reached = np.array([float(np.asarray(worst.fp)) / np.sum(~members), float(np.asarray(worst.tp)) / members.sum()])
        area, least = max(0.0, MAX_FALSE - reached[0]) * reached[1], MAX_FALSE**2 / 2
        return Estimate(1.0, float((1 + (area - least) / (MAX_FALSE - least)) / 2), 1.0, len(np.unique(of)))
    return grouped_interval(lambda rows: partial_auroc(values[rows], members[rows]), of, draws=draws, seed=seed, level=level)


def true_rate(
    scores: ArrayLike,
    used: ArrayLike,
    groups: ArrayLike,
    asked: float,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Rate:
    """True positive rate at a false positive rate, where no image takes part in finding the threshold that it is held against.

    An image is predicted used where ``(1 + negatives of other groups at least as high) / (1 + those negatives) <= asked``: a
    conformal p-value (Vovk, Gammerman and Shafer, 2005), so the rate is kept on average whatever the scores. Without groups
    that is possible from 1 / n on, n being the number of negatives. The interval resamples groups of both kinds, thresholds
    included; where all or none of the used images are found it is `grouped_proportion`'s.

    Args:
        scores, used: see `query.evaluation.resampling.auroc`.
        groups: (n,), as `draws` and `seed` see `query.evaluation.resampling.grouped_interval`.
        asked: the false positive rate.
    """
    values, members = np.asarray(scores, np.float64), np.asarray(used, bool)
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    number = int(member.max(initial=-1)) + 1
    above, others, own = _negatives(values, members, member)
    least = min(others) + 1 if len(others) else 1
    if not members.any() or members.all() or least * asked < 1 - _ROUNDING:
        needed, there = int(np.ceil(1 / asked - _ROUNDING)), 0 if members.all() else least
        reason = f"needs {needed:,} images not used, {there:,} count when an image's own group is left out"
        return Rate(asked, Estimate(np.nan, np.nan, np.nan, number), np.nan, reason if members.any() else "no image is used")
    hit = 1 + above <= asked * (1 + others) + _ROUNDING
    rate = grouped_proportion(hit[members], member[members])
    if rate.value not in (0, 1):
        times = (np.bincount(sample, minlength=number) for sample in resamples(number, draws, seed))
        resampled = np.array([_rate(each, values, members, member, own, asked) for each in times])
        rate = interval_of(rate.value, resampled, number, LEVEL)
    return Rate(asked, rate, float(hit[~members].mean()))


def _negatives(values: Floats, members: Bools, member: NDArray[np.integer]) -> tuple[Rows, Rows, tuple[Rows, Rows]]:
    """Of each image: negatives of other groups at least as high, all of other groups, and both counts of its own group."""
    high, many = np.zeros(len(values), np.int64), np.zeros(len(values), np.int64)
    for group in np.unique(member[~members]):
        rows = np.flatnonzero(member == group)
        theirs = values[rows][~members[rows]]
        high[rows], many[rows] = (theirs[None] >= values[rows][:, None]).sum(axis=1), len(theirs)
    negatives = np.sort(values[~members])
    above = len(negatives) - np.searchsorted(negatives, values, "left")
    return above - high, len(negatives) - many, (high, many)


def _rate(
    times: NDArray[np.integer], values: Floats, members: Bools, member: NDArray[np.integer], own: tuple[Rows, Rows], asked: float
) -> float:
    """The true positive rate in a resample that holds each group so many times; its copies count as one group."""
    negatives = np.flatnonzero(~members)
    order = negatives[np.argsort(values[negatives], kind="stable")]
    upto = np.append(0, np.cumsum(times[member[order]]))
    weight = times[member[members]]
    above = upto[-1] - upto[np.searchsorted(values[order], values[members], "left")] - weight * own[0][members]
    others = upto[-1] - weight * own[1][members]
    hit = 1 + above <= asked * (1 + others) + _ROUNDING
    return float(weight @ hit / weight.sum()) if weight.any() else float("nan")
