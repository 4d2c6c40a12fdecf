"""Calibration: conformal p-values, q-values (false discovery rate), smallest possible p-value, P(used)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from query.membership.case import NOT_USED, USED, Case, Rows, Values

SPLITS = 5
Score = Callable[[Case], Values]  # values of all real images of a case, larger speaks for used


def p_values(case: Case, score: Score) -> Values:
    """Conformal p-values (1 + number of calibration images at least as near) / (n + 1), (nr,), NaN where a value is.

    The reference is split by group into halves; one half is what `score` may look at, the other calibrates, and then the other
    way round: cross-conformal prediction (Vovk, Annals of Mathematics and Artificial Intelligence 2015), so that all n images
    count. That is done for `SPLITS` random splits and the numbers averaged: one split alone is a matter of luck. Valid as far
    as an image that was not used could as well have been one of the reference: the same scanner, disease and cropping. A
    reference image cannot calibrate itself: use `Case.forgetting` for its own p-value.

    Raises:
        MembershipError: see `score`.
    """
    nearer, value, count = np.zeros(len(case.real)), np.zeros(len(case.real)), 0
    for split in range(SPLITS):
        for half in halves(case.reference, case.groups, SPLITS * case.seed + split):
            value = score(case.forgetting(half))
            calibration = np.sort(value[half][np.isfinite(value[half])])
            nearer += len(calibration) - np.searchsorted(calibration, value, side="left")
            count += len(calibration)
    return np.where(np.isfinite(value), (1 + nearer / SPLITS) / (count / SPLITS + 1), np.nan)


def halves(rows: Rows, groups: NDArray[np.generic], seed: int) -> list[Rows]:
    """Rows split at random into two halves, of about equal size and without a common group; fewer where there is one group."""
    return folds(rows, groups, 2, seed)


def folds(rows: Rows, groups: NDArray[np.generic], count: int, seed: int) -> list[Rows]:
    """Rows split at random into parts of about equal size without common groups; each part in ascending order.

    The draw does not depend on the order of the rows: groups are drawn in sorted order, each goes to the smallest part.
    """
    names, member = np.unique(groups[rows], return_inverse=True)
    sizes = np.zeros(count, np.int64)
    part_of = np.empty(len(names), np.int64)
    for group in np.random.default_rng(seed).permutation(len(names)):
        part_of[group] = np.argmin(sizes)
        sizes[part_of[group]] += np.count_nonzero(member == group)
    return [rows[part_of[member] == part] for part in range(count) if np.any(part_of == part)]


def q_values(p: ArrayLike) -> Values:
    """Benjamini and Hochberg's (1995) adjusted p-values: calling all with q <= a keeps the expected false share at a.

    They are conformal p-values against one reference, which depend on each other in the harmless direction (Bates et al., Annals
    of Statistics 2023). NaN stays NaN and is no test.
    """
    given = np.asarray(p, np.float64)
    known = np.flatnonzero(np.isfinite(given))
    order = known[np.argsort(given[known], kind="stable")]
    scaled = given[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted = np.full(given.shape, np.nan)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return adjusted


def smallest_p(reference: int) -> float:
    """The smallest p-value that so many reference images can give."""
    return 1 / (reference + 1)


def least_rejected(reference: int, tests: int, level: float) -> int:
    """How many of so many images must all stand out from the whole reference before one of them can be predicted used at this q.

    At smallest p, k rejections need `tests / k / (reference + 1) <= level`. More than `tests` means that none ever can.
    """
    return math.ceil(tests * smallest_p(reference) / level - 1e-9)


@dataclass(frozen=True)
class Probability:
    """P(used) = 1 / (1 + exp(-(slope * value + offset))), with a stated prior.

    Attributes:
        slope, offset: of the logistic curve.
        prior: the share of used images that it holds for.
    """

    slope: float
    offset: float
    prior: float

    def of(self, value: Values) -> Values:
        """(n,) in 0..1, NaN where the value is."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.slope * value + self.offset, -700, 700))))


def probability(value: Values, used: NDArray[np.int8], prior: float) -> Probability | None:
    """Platt's (1999) curve through the values of labelled images, both kinds weighing as the prior says; None without both kinds.

    A weak quadratic penalty on the slope keeps it finite where the kinds do not overlap.

    Args:
        value: (n,) of images whose labels did not help to make them.
        used: (n,) as `Case.used`.
        prior: share of used images among unlabelled images, between 0 and 1.

    Raises:
        ValueError: the prior is not between 0 and 1.
    """
    if not 0 < prior < 1:
        raise ValueError(f"the prior must be between 0 and 1, got {prior:g}")
    known = np.isfinite(value) & (used != -1)
    labels = used[known] == USED
    if not labels.any() or labels.all():
        return None
    from sklearn.linear_model import LogisticRegression

    values = value[known]
    middle, spread = float(values.mean()), max(float(values.std()), 1e-12)
    weight = np.where(labels, prior / labels.mean(), (1 - prior) / (1 - labels.mean()))
    fitted = LogisticRegression(C=1.0).fit(((values - middle) / spread)[:, None], labels, sample_weight=weight)
    slope = float(fitted.coef_[0, 0]) / spread
    return Probability(slope, float(fitted.intercept_[0]) - slope * middle, prior)


def best_threshold(value: Values, used: NDArray[np.int8]) -> float | None:
    """The threshold with the largest balanced accuracy on labelled images (Youden 1950); None without both kinds.

    It lies in the middle between two values; of several equally good ones the highest is taken: the fewest are predicted used.
    """
    known = np.isfinite(value) & (used != -1)
    values, labels = value[known], used[known] == USED
    if not labels.any() or labels.all():
        return None
    levels = np.unique(values)
    candidates = np.concatenate([(levels[1:] + levels[:-1]) / 2, [levels[-1] + 1]])[::-1]
    yes, no = values[labels], values[~labels]
    # whole numbers: rounding would tell equally good ones apart
    rates = [int((yes >= c).sum()) * len(no) - int((no >= c).sum()) * len(yes) for c in candidates]
    return float(candidates[int(np.argmax(rates))])


def wrong_threshold(value: Values, used: NDArray[np.int8], wrong: float) -> float | None:
    """The threshold that at most the share `wrong` of the images known not to be used reaches; None without any."""
    values = np.sort(value[np.isfinite(value) & (used == NOT_USED)])[::-1]
    if not len(values):
        return None
    allowed = int(wrong * len(values))
    return float(np.nextafter(values[min(allowed, len(values) - 1)], np.inf))
