"""Evidence for each patient: do its images, however many, lie nearer to the generated ones than those of patients never used."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from query.membership.case import Rows, Values

DRAWS = 100  # random orders of a patient's slices


@dataclass(frozen=True)
class Patients:
    """Images by patient.

    Attributes:
        names: (np,) groups, sorted.
        of_row: (n,) number of each image's patient.
    """

    names: NDArray[np.generic]
    of_row: NDArray[np.int64]

    @classmethod
    def of(cls, groups: NDArray[np.generic]) -> "Patients":
        """Of (n,) groups, of any type that can be sorted."""
        names, member = np.unique(groups, return_inverse=True)
        return cls(names, member.ravel().astype(np.int64))

    def __len__(self) -> int:
        return len(self.names)

    def sizes(self, rows: Rows) -> NDArray[np.int64]:
        """(np,) how many of these rows each has."""
        return np.bincount(self.of_row[rows], minlength=len(self))

    def among(self, rows: Rows) -> NDArray[np.int64]:
        """Numbers of the patients who have one of these rows, ascending."""
        return np.unique(self.of_row[rows])


@dataclass(frozen=True)
class Counts:
    """How much of the reference is at least as near: p = (own + nearer) / (own + total). Parts of a reference are added.

    Attributes:
        nearer, total: (n,) weight of the reference at least as near, and of all of it.
        own: (n,) weight of what is tested.
    """

    nearer: Values
    total: Values
    own: Values

    @classmethod
    def none(cls, size: int) -> "Counts":
        """Of so many, nothing yet."""
        return cls(np.zeros(size), np.zeros(size), np.zeros(size))

    def __add__(self, other: "Counts") -> "Counts":
        """Of both parts of a reference."""
        return Counts(self.nearer + other.nearer, self.total + other.total, np.maximum(self.own, other.own))

    def p_values(self, splits: int = 1) -> Values:
        """(n,) NaN where there is nothing to compare with; the counts are sums over so many splits of the whole reference."""
        known, nearer, total = self.total > 1e-12, np.maximum(self.nearer, 0) / splits, self.total / splits
        return np.where(known, (self.own + nearer) / np.where(known, self.own + total, 1), np.nan)


def known_rows(values: Values, rows: Rows) -> Rows:
    """Those rows whose value is known."""
    return rows[np.isfinite(values[rows])]


def patient_ranks(values: Values, patients: Patients, rows: Rows) -> Values:
    """(n,) rank of these rows among their patients, between 0 and 1; NaN for the others, and where the value is.

    Each patient counts alike: the chance that a random image of a random patient has a smaller value, equal ones counting half.
    """
    known = known_rows(values, rows)
    order = known[np.argsort(values[known], kind="stable")]
    sizes = patients.sizes(known)
    below = np.concatenate([[0.0], np.cumsum(1 / sizes[patients.of_row[order]])])
    first, last = (np.searchsorted(values[order], values[order], side) for side in ("left", "right"))
    ranks = np.full(len(values), np.nan)
    ranks[order] = (below[first] + below[last]) / 2 / max(1, np.count_nonzero(sizes))
    return ranks


def scores_of_ranks(ranks: Values) -> Values:
    """- log(1 - rank): near the top a rank counts more (Savage, Annals of Mathematical Statistics 1956)."""
    return np.asarray(-np.log1p(-ranks))


def count_images(values: Values, patients: Patients, reference: Rows, weights: Values) -> Counts:
    """Each image against the reference, in which each patient counts alike.

    A patient of the reference has a weight of 1 (or its own), of which each of its images has an equal part. The own weight of a
    tested image is that of a mean reference image, so that the smallest p-value of n reference images is 1 / (n + 1). On average
    over draws of patients the level holds where images of one patient differ about as much as those of several; `count_patients`
    is exact for one draw of slices, and scripts/bench/evidence.py measures the mean over draws. Images of an image's own patient
    are no reference for it: whether they are labelled changes nothing.

    Args:
        values: (n,) larger is nearer, NaN where it is not known.
        patients: of the images.
        reference: rows of images known not to be used.
        weights: (n,) how much each image's patient counts as one of the reference; 1 for all, see `query.membership.calibration`.
    """
    known = known_rows(values, reference)
    known = known[np.argsort(values[known], kind="stable")]
    of, held = patients.of_row[known], patients.sizes(known)
    weight = weights[known] / held[of]
    from_here = np.append(np.cumsum(weight[::-1])[::-1], 0.0)
    nearer = from_here[np.searchsorted(values[known], values, "left")]
    total = np.full(len(values), weight.sum())
    slices = (len(known) - held) / np.maximum(1, np.count_nonzero(held) - (held > 0))  # of a mean patient besides this one
    for patient in np.flatnonzero(held):
        rows, mine = np.flatnonzero(patients.of_row == patient), np.flatnonzero(of == patient)
        nearer[rows] -= (values[known[mine]][None] >= values[rows][:, None]) @ weight[mine]
        total[rows] -= weight[mine].sum()
    unknown = ~np.isfinite(values)
    nearer[unknown] = total[unknown] = 0
    return Counts(nearer, total, weights / np.maximum(slices, 1)[patients.of_row])


def count_patients(values: Values, patients: Patients, tested: Rows, reference: Rows, weights: Values, seed: int) -> Counts:
    """Each patient, by its tested images, against the patients of the reference: p = (1 + those at least as near) / (all + 1).

    The claim that is tested: no image of this patient was used. A patient of ten slices is compared with one of three by three
    random slices of either, many times, so that the number of slices decides nothing: two patients reduced to equally many random
    slices are exchangeable where nothing was used (subsampling once for each group: Dunn, Wasserman and Ramdas, Journal of the
    American Statistical Association 2023; Lee, Barber and Willett, arXiv 2306.06342, 2023). The slices' scores
    (`scores_of_ranks`) are averaged.

    Args:
        values, patients, reference, weights: as of `count_images`.
        tested: rows of images to be tested; a patient without any has no counts.
        seed: of the draws; names and order of images change nothing.
    """
    tested, reference = known_rows(values, tested), known_rows(values, reference)
    scores = scores_of_ranks(patient_ranks(values, patients, np.union1d(tested, reference)))
    rng = np.random.default_rng(seed)
    several = max(patients.sizes(tested).max(initial=0), patients.sizes(reference).max(initial=0)) > 1
    draws = DRAWS if several else 1  # one slice has one order
    mine, theirs = (_means_of_slices(scores, patients, rows, draws, rng) for rows in (tested, reference))
    own = patients.among(reference)
    weight = np.ones(len(patients))
    weight[patients.of_row] = weights
    nearer, total = np.zeros(len(patients)), np.zeros(len(patients))
    limits = np.array([len(theirs[patient]) for patient in own], np.int64)
    starts = np.cumsum(limits) - limits
    reference_means = np.concatenate([np.zeros((0, draws)), *(theirs[patient] for patient in own)])
    for patient in patients.among(tested):
        others = np.flatnonzero(own != patient)
        slices = np.minimum(len(mine[patient]), limits[others]) - 1
        share = (reference_means[starts[others] + slices] >= mine[patient][slices] - 1e-12).mean(axis=1)
        nearer[patient], total[patient] = weight[own[others]] @ share, weight[own[others]].sum()
    return Counts(nearer, total, weight)


def _means_of_slices(scores: Values, patients: Patients, rows: Rows, draws: int, rng: np.random.Generator) -> list[Values]:
    """For each patient (m, draws) means of the first 1 .. m of its scores, in random orders; (0, draws) without any.

    Draws belong to the scores, in ascending order: names change nothing.
    """
    rows = rows[np.lexsort((scores[rows], patients.of_row[rows]))]
    ends = np.searchsorted(patients.of_row[rows], np.arange(len(patients) + 1))
    own = [tuple(scores[rows[start:end]].tolist()) for start, end in pairwise(ends)]
    made = {}
    for one in sorted(set(own)):
        orders = np.tile(np.array(one)[:, None], draws)
        drawn = rng.permuted(orders, axis=0) if len(one) > 1 else orders
        made[one] = np.cumsum(drawn, axis=0) / np.arange(1, len(one) + 1)[:, None]
    return [made[one] for one in own]


def image_p_values(values: Values, groups: NDArray[np.generic], reference: Rows, weights: Values | None = None) -> Values:
    """(n,) p-values of `count_images`."""
    return count_images(values, Patients.of(groups), reference, np.ones(len(values)) if weights is None else weights).p_values()


def patient_p_values(
    values: Values, groups: NDArray[np.generic], tested: Rows, reference: Rows, seed: int = 0
) -> tuple[Patients, Values]:
    """The patients, and (np,) p-values of `count_patients`; NaN for those without a tested image."""
    patients = Patients.of(groups)
    return patients, count_patients(values, patients, tested, reference, np.ones(len(values)), seed).p_values()
