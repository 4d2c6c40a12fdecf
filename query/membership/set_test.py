"""Evidence for the whole set: was any of it used, and at least what share of its patients."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from query.membership.case import Rows, Values
from query.membership.patients import Patients, known_rows, patient_ranks, scores_of_ranks

DRAWS = 1999  # permutations
LEVEL = 0.05  # of the lower bound
FEWEST = 2  # patients of either side
_STEPS = 50  # shares that the bound is looked for among, at most


@dataclass(frozen=True)
class SetTest:
    """What the set as a whole says.

    Attributes:
        p_value: of the claim that no patient of the set was used; NaN with fewer than two patients on either side.
        share_low: with 95% confidence at least this share of the patients was used; NaN like `p_value`.
        patients: in the set.
        reference: patients in the reference.
    """

    p_value: float
    share_low: float
    patients: int
    reference: int

    @property
    def used_low(self) -> int:
        """Patients of the set that were used, at least."""
        return 0 if np.isnan(self.share_low) else round(self.share_low * self.patients)


def set_test(values: Values, groups: NDArray[np.generic], tested: Rows, reference: Rows, seed: int = 0) -> SetTest:
    """Test whether patients lie nearer to the generated images than patients of the reference, as a whole.

    Each patient's score is the mean over its images of two functions of their rank (`patient_ranks`): the rank, which sees many
    who are a little nearer (Wilcoxon), and `scores_of_ranks`, which sees few who are much nearer (Savage). Both do not depend in
    the mean on the number of images. The larger of the two studentised differences of means is compared with what it is when
    patients change sides at random: exact where patients are exchangeable, and asymptotically where their numbers of images, so
    their variances, differ (Janssen, Statistics and Probability Letters 1997; Chung and Romano, Annals of Statistics 2013).

    The bound: if m patients of the set were not used, then the m with the lowest scores lie no higher than those, so the test of
    these m against the reference is rejected with a chance of at most 5%. The bound leaves out the largest m that is not
    rejected; of more than 200 patients not every m is tried, and it errs to the low side.
    Plain differences count there too: of the lowest m the spread is small, which alone makes a studentised difference large.
    It is a test of the set as in dataset inference (Maini et al., ICLR 2021; CDI, Dubinski et al., CVPR 2025), with ranks.

    Args:
        values: (n,) larger is nearer, NaN where it is not known.
        groups: (n,) patients, of any type that can be sorted.
        tested, reference: rows of the set, and of images known not to be used. Patients of the reference are not tested.
        seed: of the permutations.
    """
    patients = Patients.of(groups)
    tested, reference = known_rows(values, tested), known_rows(values, reference)
    kept = patients.among(reference)
    asked = np.setdiff1d(patients.among(tested), kept)
    if min(len(asked), len(kept)) < FEWEST:
        return SetTest(np.nan, np.nan, len(asked), len(kept))
    rows = np.concatenate([reference, tested[np.isin(patients.of_row[tested], asked)]])
    values, numbers = values[rows], patients.of_row[rows]
    nearest = asked[np.argsort(_scores(values, numbers)[1][np.searchsorted(np.unique(numbers), asked)], kind="stable")]
    p_value = _p_values(values, numbers, kept, seed)[0]
    share = 0.0
    for left in _counts(len(asked)) if p_value <= LEVEL else ():
        some = np.isin(numbers, np.concatenate([kept, nearest[:left]]))
        if max(_p_values(values[some], numbers[some], kept, seed)) > LEVEL:
            break
        share = 1 - (left - 1) / len(asked)
    return SetTest(p_value, share, len(asked), len(kept))


def _counts(patients: int) -> list[int]:
    """Numbers of patients that the bound looks at, from all of them down to one."""
    steps = np.linspace(patients, 1, min(patients, _STEPS)).astype(int)
    return sorted(set(steps.tolist()), reverse=True)


def _scores(values: Values, numbers: NDArray[np.int64]) -> Values:
    """(2, patients) mean rank and mean score of each patient, by number."""
    patients, rows = Patients.of(numbers), np.arange(len(values))
    ranks = patient_ranks(values, patients, rows)
    sizes = patients.sizes(rows)
    return np.array([np.bincount(patients.of_row, each) / sizes for each in (ranks, scores_of_ranks(ranks))])


def _p_values(values: Values, numbers: NDArray[np.int64], kept: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Of the permutation test of all patients that are not kept, with studentised and with plain differences."""
    scores, side = _scores(values, numbers), ~np.isin(np.unique(numbers), kept)
    order = np.lexsort(scores)  # names change nothing
    scores, side = scores[:, order], side[order]
    permuted = np.random.default_rng(seed).permuted(np.tile(np.sort(side), (DRAWS, 1)), axis=1)
    found, drawn = _differences(scores, side[None]), _differences(scores, permuted)
    at_least = (drawn >= found - 1e-12).sum(axis=1)
    return (1 + int(at_least[0])) / (DRAWS + 1), (1 + int(at_least[1])) / (DRAWS + 1)


def _differences(scores: Values, side: NDArray[np.bool_]) -> Values:
    """(2, draws) the larger studentised difference of means, and the larger plain one, tested side minus the other."""
    first = side.astype(np.float64)
    n = first.sum(axis=1)
    m = first.shape[1] - n
    plain, studentised = [], []
    for each in scores:
        one, squares = first @ each, first @ each**2
        two, rest = each.sum() - one, (each**2).sum() - squares
        spread = np.maximum(squares / n - (one / n) ** 2, 0) / np.maximum(n - 1, 1)
        spread += np.maximum(rest / m - (two / m) ** 2, 0) / np.maximum(m - 1, 1)
        plain.append((one / n - two / m) / max(float(each.std()), 1e-12))
        studentised.append((one / n - two / m) / np.sqrt(np.maximum(spread, 1e-300)))
    return np.array([np.max(studentised, axis=0), np.max(plain, axis=0)])
