"""Calibration: conformal p-values of images and patients, q-values (false discovery rate), smallest possible p-value, P(used)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from query.membership.case import NOT_USED, USED, Case, Rows, Values
from query.membership.patients import Counts, Patients, count_images, count_patients

SPLITS = 5
Score = Callable[[Case], Values]  # values of all real images of a case, larger speaks for used


@dataclass(frozen=True)
class Evidence:
    """Conformal p-values, NaN where there are none.

    Attributes:
        image: (nr,) of each image, see `query.membership.patients.count_images`.
        patients: all of the case.
        unlabelled: (np,) of each patient by its unlabelled images, see `query.membership.patients.count_patients`.
        labelled: (np,) of each patient by its labelled ones, itself left out of the reference.
    """

    image: Values
    patients: Patients
    unlabelled: Values
    labelled: Values


def evidence(case: Case, score: Score, looks: bool) -> Evidence:
    """p-values of images and of patients against the reference.

    Valid as far as a patient who was not used could as well have been one of the reference: the same scanner, disease and
    cropping. Where `score` looks at no label, all images are scored alike and the whole reference calibrates. Where it does, the
    reference is split by group into halves; one half is what it may look at, the other calibrates, and then the other way round:
    cross-conformal prediction (Vovk, Annals of Mathematics and Artificial Intelligence 2015). That is done for `SPLITS` random
    splits and the counts are averaged. Then a labelled image has no p-value of use here: see `Case.forgetting`.

    Args:
        case, score: the images and their values.
        looks: whether `score` looks at labels.

    Raises:
        MembershipError: see `score`.
    """
    patients, weights = Patients.of(case.groups), np.ones(len(case.real)) if case.weights is None else case.weights
    image, unlabelled, labelled = (Counts.none(size) for size in (len(case.real), len(patients), len(patients)))
    splits = SPLITS if looks else 1
    for split in range(splits):
        halved = halves(case.reference, case.groups, SPLITS * case.seed + split) if looks else [case.reference]
        for half in halved:
            value = score(case.forgetting(half) if looks else case)
            image += count_images(value, patients, half, weights)
            unlabelled += count_patients(value, patients, case.unlabelled, half, weights, case.seed + split)
            if not looks:
                labelled += count_patients(value, patients, case.labelled, half, weights, case.seed)
    return Evidence(image.p_values(splits), patients, unlabelled.p_values(splits), labelled.p_values(splits))


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
    # rounded: twelve tests at 1 / 10 are 0.1 and no bit more, so that `least_rejected` and a comparison with a level agree
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1).round(12)
    return adjusted


def smallest_p(reference: int) -> float:
    """The smallest p-value that so many reference patients can give."""
    return 1 / (reference + 1)


def least_rejected(reference: int, tests: int, level: float) -> int:
    """How many of so many patients must all be nearer than the whole reference before one can be predicted used at this q.

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

    def of(self, value: Values, prior: float | None = None) -> Values:
        """(n,) in 0..1, NaN where the value is; for another prior by Bayes' rule."""
        odds = self.slope * value + self.offset
        if prior is not None:
            odds = odds + _logit(prior) - _logit(self.prior)
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -700, 700))))


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


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
