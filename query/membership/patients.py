"""Evidence for each patient: are its images nearer to the generated ones than those of patients never used, whatever their number."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from query.membership.case import Rows, Values

DRAWS = 100  # random orders of a patient's slices
_PAIRS = 4_000_000  # comparisons of two patients at a time, draws included


@dataclass(frozen=True)
class Patients:
    """Images by patient: those whose values are known.

    Attributes:
        names: (np,) groups, sorted.
        of_row: (n,) number of each image's patient; -1 where its value is not known.
        sizes: (np,) images of each patient.
    """

    names: NDArray[np.generic]
    of_row: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, values: Values, groups: NDArray[np.generic]) -> "Patients":
        """Of (n,) values and groups; a patient whose values are all NaN is none."""
        known = np.isfinite(values)
        names, member, sizes = np.unique(groups[known], return_inverse=True, return_counts=True)
        of_row = np.full(len(values), -1)
        of_row[known] = member.ravel()
        return cls(names, of_row, sizes)

    def __len__(self) -> int:
        return len(self.names)

    def among(self, rows: Rows) -> NDArray[np.int64]:
        """Numbers of the patients who have one of these images, ascending."""
        numbers: NDArray[np.int64] = np.unique(self.of_row[rows])
        return numbers[numbers >= 0]


def patient_ranks(values: Values, patients: Patients) -> Values:
    """(n,) rank of each image among all patients, between 0 and 1, NaN where the value is.

    Each patient counts alike: the chance that a random image of a random patient has a smaller value, equal ones counting half.
    """
    known = np.flatnonzero(patients.of_row >= 0)
    order = known[np.argsort(values[known], kind="stable")]
    weights = 1 / patients.sizes[patients.of_row[order]]
    below = np.concatenate([[0.0], np.cumsum(weights)])
    first, last = (np.searchsorted(values[order], values[order], side) for side in ("left", "right"))
    ranks = np.full(len(values), np.nan)
    ranks[order] = (below[first] + below[last]) / 2 / len(patients)
    return ranks


def scores_of_ranks(ranks: Values) -> Values:
    """- log(1 - rank): near the top a rank counts more (Savage, Annals of Mathematical Statistics 1956)."""
    return -np.log1p(-ranks)


def image_p_values(
    values: Values, groups: NDArray[np.generic], reference: Rows, weights: Values | None = None
) -> Values:
    """Conformal p-value of each image against reference images, in which each patient of the reference counts alike.

    (1 / m + share of the reference at least as near) / (1 / m + 1), where each of the reference patients has an equal part in the
    share, and each of its images an equal part of that; m is the number of reference images. Images of an image's own patient are
    no reference for it. On average over draws of patients the level holds; see `patient_p_values` for what holds exactly.

    Args:
        values: (n,) larger is nearer, NaN where it is not known.
        groups: (n,) patients, of any type that can be sorted.
        reference: rows of images known not to be used.
        weights: (n,) how much each image's patient counts as one of the reference, see `query.membership.calibration`;
            alike without them.

    Returns:
        (n,) NaN where a value is, and where no other patient is in the reference.
    """
    patients = Patients.of(values, groups)
    known = reference[patients.of_row[reference] >= 0]
    known = known[np.argsort(values[known], kind="stable")]
    of = patients.of_row[known]
    own_images = np.bincount(of, minlength=len(patients))
    weight = (1.0 if weights is None else weights[known]) / own_images[of]
    nearer = np.append(np.cumsum(weight[::-1])[::-1], 0.0)[np.searchsorted(values[known], values, "left")]
    total = np.full(len(values), weight.sum())
    for patient in np.flatnonzero(own_images):  # an image's own patient is no reference for it
        rows = np.flatnonzero(patients.of_row == patient)
        mine = np.flatnonzero(of == patient)
        near = (values[known[mine]][None] >= values[rows][:, None]).astype(np.float64)
        nearer[rows] -= near @ weight[mine]
        total[rows] -= weight[mine].sum()
    own = (1.0 if weights is None else weights) / max(1, len(known)) * (own_images > 0).sum()
    usable = (patients.of_row >= 0) & (total > 1e-12)
    return np.where(usable, (own + np.maximum(nearer, 0)) / np.where(usable, own + total, 1), np.nan)


def patient_p_values(
    values: Values,
    groups: NDArray[np.generic],
    reference: Rows,
    *,
    weights: Values | None = None,
    seed: int = 0,
) -> tuple[Patients, Values]:
    """Conformal p-value of each patient: (1 + reference patients at least as near) / (reference patients + 1).

    The claim that is tested: no image of this patient was used. A patient of ten slices is compared with one of three by three
    random slices of either, many times, so that the number of slices decides nothing: two patients reduced to equally many random
    slices are exchangeable where nothing was used (subsampling once for each group: Dunn, Wasserman and Ramdas, Journal of the
    American Statistical Association 2023; Lee, Barber and Willett 2023). The slices' scores (`scores_of_ranks`) are averaged.

    Args:
        values, groups, reference, weights: as of `image_p_values`.
        seed: of the draws; names and order of images change nothing.

    Returns:
        The patients, and (np,) p-values, NaN where no other patient is in the reference.
    """
    patients = Patients.of(values, groups)
    own = patients.among(reference)
    weight = np.ones(len(patients))
    if weights is not None:
        known = np.flatnonzero(patients.of_row >= 0)
        weight[patients.of_row[known]] = weights[known]
    nearer = shares_nearer(values, patients, own, reference, seed)
    other = own[None] != np.arange(len(patients))[:, None]
    total = (other * weight[own]).sum(axis=1)
    p = (weight + (nearer * other * weight[own]).sum(axis=1)) / (weight + total)
    return patients, np.where(total > 0, p, np.nan)


def shares_nearer(values: Values, patients: Patients, own: NDArray[np.int64], reference: Rows, seed: int) -> Values:
    """(np, nk) share of draws in which reference patient k is at least as near as the patient, at equally many slices.

    Of reference patients only their reference images count.
    """
    scores = scores_of_ranks(patient_ranks(values, patients))
    held = np.zeros(len(values), bool)
    held[reference] = True
    tested = _prefixes(scores, patients, patients.of_row >= 0, seed)
    against = _prefixes(scores, patients, held & (patients.of_row >= 0), seed + 1)
    sizes = np.array([each.shape[1] for each in tested])
    limits = np.array([against[k].shape[1] for k in own], np.int64)
    shares = np.zeros((len(patients), len(own)))
    longest = int(limits.max(initial=1))
    stacked = np.full((len(own), DRAWS, longest), np.nan)
    for place, k in enumerate(own):
        stacked[place, :, : limits[place]] = against[k]
    for patient, mine in enumerate(tested):
        at = np.minimum(sizes[patient], limits) - 1
        theirs = stacked[np.arange(len(own)), :, at]  # (nk, draws)
        shares[patient] = (theirs >= mine[:, at].T - 1e-12).mean(axis=1)
    return shares


def _prefixes(scores: Values, patients: Patients, held: NDArray[np.bool_], seed: int) -> list[Values]:
    """For each patient (draws, m) means of the first 1 .. m of its held scores, in random orders; (draws, 0) without any.

    Patients take their draws in the order of their scores: names change nothing.
    """
    rows = np.flatnonzero(held)
    rows = rows[np.lexsort((scores[rows], patients.of_row[rows]))]
    starts = np.searchsorted(patients.of_row[rows], np.arange(len(patients) + 1))
    own = [scores[rows[a:b]] for a, b in zip(starts[:-1], starts[1:], strict=True)]
    rng = np.random.default_rng(seed)
    made: list[Values] = [np.zeros((DRAWS, 0))] * len(own)
    for patient in sorted(range(len(own)), key=lambda one: own[one].tolist()):
        mine = own[patient]
        orders = rng.permuted(np.tile(mine, (DRAWS, 1)), axis=1) if len(mine) > 1 else np.tile(mine, (DRAWS, 1))
        made[patient] = np.cumsum(orders, axis=1) / np.arange(1, len(mine) + 1)
    return made
