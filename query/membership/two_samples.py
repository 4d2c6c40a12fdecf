"""Two-sample test by permutation: do two sets of patients have one law? Rank sums of features and two classifiers, one level.

A classifier that tells the sets apart on patients it was not fitted on shows a difference (classifier two-sample test: Lopez-Paz
and Oquab, ICLR 2017; Kim, Ramdas, Singh and Wasserman, Annals of Statistics 2021). Among many features it is weak where only one
differs, and there the largest rank sum is strong. All statistics see the same permutations.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform
from scipy.stats import norm, rankdata

from query.membership.case import Values

PERMUTATIONS = 999
FOLDS = 5
RIDGE = 0.3  # of kernel ridge regression, relative to a feature of unit spread
_ROUNDING = 1e-9  # of statistics that are equal but for the order of a sum


@dataclass(frozen=True)
class TwoSampleTest:
    """What the test found.

    Attributes:
        p_value: of all statistics together.
        adjusted: (d,) p-value of each feature by itself, adjusted for their number (Westfall and Young 1993, single-step max-T).
        separation: AUROC of the better classifier on patients it was not fitted on: 0.5 tells nothing.
        limit: standard deviations that a feature's rank sum must be off for the whole test to reject at the level asked for.
    """

    p_value: float
    adjusted: Values
    separation: float
    limit: float


def permutations(first: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """(n, 1 + PERMUTATIONS) of 0 and 1: whether a patient is of the first set; in column 0 as it is, then permuted."""
    return np.stack([first, *(rng.permutation(first) for _ in range(PERMUTATIONS))], axis=1).astype(np.float64)


def two_sample_test(values: Values, labels: NDArray[np.float64], level: float, rng: np.random.Generator) -> TwoSampleTest:
    """Test whether the patients of both sets could have changed places.

    The p-values of the largest rank sum and of both classifiers are found among the permutations, and the smallest of them is
    compared with what it is under every other permutation (min-p; Westfall and Young 1993). So the level holds exactly, whatever
    the number of patients, of features and their dependence.

    Args:
        values: (n, d) finite, a row for each patient.
        labels: of `permutations`.
        level: that `TwoSampleTest.limit` is for.
        rng: draws the folds of the classifiers.
    """
    varied = np.ptp(values, axis=0) > 0
    if not varied.any():
        return TwoSampleTest(1.0, np.ones(values.shape[1]), 0.5, np.inf)
    ranks = rankdata(values[:, varied], axis=0)
    deviations = np.abs(_rank_sums(ranks, labels))
    largest = deviations.max(axis=0)
    scores = norm.ppf((ranks - 0.5) / len(ranks))
    separations = [_aurocs(each, labels) for each in _classified(scores / scores.std(axis=0), labels, rng)]
    smallest = np.min([_tails(each) for each in (largest, *separations)], axis=0)
    adjusted = np.ones(values.shape[1])
    adjusted[varied] = [np.mean(largest >= one - _ROUNDING) for one in deviations[:, 0]]
    return TwoSampleTest(
        p_value=float(np.mean(smallest <= smallest[0])),
        adjusted=adjusted,
        separation=float(max(each[0] for each in separations)),
        limit=float(np.quantile(largest, 1 - np.quantile(smallest, level))),
    )


def _rank_sums(ranks: Values, labels: Values) -> Values:
    """(d, columns) rank sums of the first set less their mean, over their standard deviation under permutation."""
    n, first = len(ranks), labels[:, 0].sum()
    spread = np.sqrt(first * (n - first) / n * ranks.var(axis=0, ddof=1))
    return np.asarray((ranks - ranks.mean(axis=0)).T @ labels / spread[:, None])


def _classified(scores: Values, labels: Values, rng: np.random.Generator) -> Iterator[Values]:
    """(n, columns) cross-fitted scores of a linear and of a curved classifier, for each column of labels.

    Both are kernel ridge regressions of the labels, whose scores of held-out patients are linear in the labels of the others: one
    matrix serves all permutations. The linear one is Fisher's discriminant with a ridge; the curved one has a Gaussian kernel.
    """
    distances = squareform(pdist(scores, "sqeuclidean"))
    fold = rng.permutation(len(scores)) % FOLDS
    for kernel in (scores @ scores.T, scores.shape[1] * np.exp(-distances / np.median(distances))):
        found = np.empty_like(labels)
        for number in range(min(FOLDS, len(scores))):
            out, rest = fold == number, fold != number
            known = kernel[np.ix_(rest, rest)] + RIDGE * len(scores) * np.eye(rest.sum())
            centred = labels[rest] - labels[rest].mean(axis=0)
            found[out] = np.linalg.solve(known, kernel[np.ix_(rest, out)]).T @ centred
        yield found


def _aurocs(scores: Values, labels: Values) -> Values:
    """(columns,) AUROC of each column of scores for its labels, ties counted half."""
    first = labels[:, 0].sum()
    sums = (rankdata(scores, axis=0) * labels).sum(axis=0)
    return np.asarray((sums - first * (first + 1) / 2) / (first * (len(labels) - first)))


def _tails(statistic: Values) -> Values:
    """(columns,) share of the columns with a statistic at least as large."""
    ordered = np.sort(statistic)
    return (len(ordered) - np.searchsorted(ordered, statistic - _ROUNDING)) / len(ordered)
