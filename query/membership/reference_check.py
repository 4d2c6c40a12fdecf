"""Check that reference and unlabelled images are of one kind, by patients, on features that no generated image has a part in.

A p-value compares an unlabelled patient with the reference patients, so it means something only where both could have changed
places. Whether they could is tested here, before any p-value is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from query.evaluation.ranking import auroc_interval
from query.membership.case import Rows, Values
from query.membership.reference_verdict import Difference, ReferenceCheck, Verdict
from query.membership.two_samples import TwoSampleTest, permutations, two_sample_test

LEVEL = 0.05  # sides of one kind are called different at most so often
DRAWS = 5  # of slices, where patients have different numbers of them
MOST = 300  # patients of a side: of more, so many are drawn, and half a standard deviation is still found
SHIFT, POWER = 2.0, 0.8  # a check can tell if it finds so many standard deviations in one feature with this probability


@dataclass(frozen=True)
class Feature:
    """A number that is measured of each image.

    Attributes:
        name: what it is, such as ``mean grey level``.
        more, less: what images are where it is larger or smaller, such as ``brighter`` and ``darker``.
        decimals: that a value is written with.
    """

    name: str
    more: str
    less: str
    decimals: int = 2


@dataclass(frozen=True)
class Features:
    """Features of images.

    Attributes:
        what: d features.
        values: (n, d) float64, finite.

    Raises:
        ValueError: the shape does not fit, or a value is not finite.
    """

    what: Sequence[Feature]
    values: Values

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.what) or not np.isfinite(self.values).all():
            raise ValueError(f"{len(self.what)} finite values of each image are needed, got {self.values.shape}")


@dataclass(frozen=True)
class CheckedPatients:
    """The patients of both sides.

    Attributes:
        rows: of each patient the rows of its images, in an order of their features: names of files must not decide a draw.
        unlabelled: (patients,) whether it is an unlabelled one.
    """

    rows: Sequence[Rows]
    unlabelled: NDArray[np.bool_]

    @classmethod
    def of(cls, values: Values, groups: NDArray[Any], tested: Rows, reference: Rows) -> "CheckedPatients":
        """Those with images on one side only, in the order of their groups."""
        both = np.intersect1d(groups[tested], groups[reference])
        known = np.concatenate([tested, reference])
        known = known[~np.isin(groups[known], both)]
        known = known[np.lexsort(values[known].T)]
        names, member = np.unique(groups[known], return_inverse=True)
        order = np.argsort(member, kind="stable")
        rows = np.split(known[order], np.cumsum(np.bincount(member, minlength=len(names)))[:-1]) if len(known) else []
        return cls(rows, np.isin(names, groups[tested]))

    @property
    def counts(self) -> tuple[int, int]:
        """Unlabelled patients, reference patients."""
        return int(self.unlabelled.sum()), int((~self.unlabelled).sum())

    @property
    def slices(self) -> NDArray[np.int64]:
        """(patients,) images of each."""
        return np.array([len(rows) for rows in self.rows], np.int64)

    @property
    def usual_slices(self) -> tuple[float, float]:
        """Median number of images of an unlabelled and of a reference patient; 0 where there is none."""
        unlabelled, reference = (self.slices[side] for side in (self.unlabelled, ~self.unlabelled))
        return float(np.median(unlabelled)) if len(unlabelled) else 0.0, float(np.median(reference)) if len(reference) else 0.0

    def at_most(self, most: int, rng: np.random.Generator) -> "CheckedPatients":
        """The same where no side has more, else so many drawn of it."""
        sides = [np.flatnonzero(side) for side in (self.unlabelled, ~self.unlabelled)]
        kept = np.sort(np.concatenate([rng.choice(side, min(len(side), most), replace=False) for side in sides]))
        return CheckedPatients([self.rows[number] for number in kept], self.unlabelled[kept])

    def drawn(self, values: Values, slices: int, rng: np.random.Generator) -> Values:
        """(patients, d) means of so many slices of each patient, drawn without replacement."""
        return np.array([values[rng.choice(rows, slices, replace=False)].mean(axis=0) for rows in self.rows])


def check_reference(features: Features, groups: NDArray[Any], tested: Rows, reference: Rows, seed: int = 0) -> ReferenceCheck:
    """Test whether unlabelled and reference patients could have changed places.

    Of each patient equally many slices are drawn, as many as the patient with the fewest has: the mean of ten slices varies less
    than one slice, which would pass for a difference. Which ones are drawn is luck; so where numbers differ there are `DRAWS`
    draws, and twice the mean of their p-values is one (Rüschendorf 1982; Vovk and Wang, Biometrika 2020).

    Args:
        features: of all images.
        groups: (n,) patients.
        tested, reference: rows of unlabelled images, and of images known not to be used.
        seed: random seed.
    """
    everyone = CheckedPatients.of(features.values, groups, tested, reference)
    counts, slices = everyone.counts, everyone.usual_slices
    if not all(counts):
        return ReferenceCheck(Verdict.TOO_FEW, 1.0, 0.5, [], *counts, slices, None)
    rng = np.random.default_rng(seed)
    patients = everyone.at_most(MOST, rng)
    fewest = int(patients.slices.min())
    draws, factor = (1, 1) if fewest == patients.slices.max() else (DRAWS, 2)
    labels = permutations(patients.unlabelled, rng)
    drawn = [patients.drawn(features.values, fewest, rng) for _ in range(draws)]
    tests = [two_sample_test(each, labels, LEVEL / factor, rng) for each in drawn]
    p = min(1.0, factor * float(np.mean([test.p_value for test in tests])))
    limit = float(np.mean([test.limit for test in tests]))
    able = power(*patients.counts, limit) >= POWER
    return ReferenceCheck(
        verdict=Verdict.DIFFERENT if p <= LEVEL else Verdict.ALIKE if able else Verdict.TOO_FEW,
        p_value=p,
        separation=float(np.mean([test.separation for test in tests])),
        differences=_differences(features, everyone, patients.unlabelled, drawn[0], factor * _adjusted(tests)),
        unlabelled=counts[0],
        reference=counts[1],
        slices=slices,
        needed=_needed(patients.counts[0], limit),
    )


def power(unlabelled: int, reference: int, limit: float) -> float:
    """Probability that a rank sum is off by `limit` standard deviations, where a normal feature differs by `SHIFT` of its own.

    By the normal approximation of the Mann-Whitney statistic, with Hanley and McNeil's (1982) variance under the difference.
    """
    area = float(norm.cdf(SHIFT / np.sqrt(2)))
    pairs = unlabelled * reference
    null = (unlabelled + reference + 1) / (12 * pairs)
    first, second = area / (2 - area) - area**2, 2 * area**2 / (1 + area) - area**2
    varied = (area * (1 - area) + (unlabelled - 1) * first + (reference - 1) * second) / pairs
    return float(norm.cdf((area - 0.5 - limit * np.sqrt(null)) / np.sqrt(varied)))


def _needed(unlabelled: int, limit: float) -> int | None:
    """The fewest reference patients that suffice, None where none that is checked suffices."""
    return next((number for number in range(1, MOST + 1) if power(unlabelled, number, limit) >= POWER), None)


def _adjusted(tests: Sequence[TwoSampleTest]) -> Values:
    return np.asarray(np.mean([test.adjusted for test in tests], axis=0))


def _differences(
    features: Features, everyone: CheckedPatients, unlabelled: NDArray[np.bool_], drawn: Values, adjusted: Values
) -> list[Difference]:
    """Features whose adjusted p-value is small, the clearest first; intervals come from the first draw, a value each patient."""
    found = []
    for number in np.flatnonzero(adjusted <= LEVEL).tolist():
        area = auroc_interval(drawn[:, number], unlabelled, np.arange(len(drawn)))
        words = _words(features.what[number], area.value, _usual(features.values[:, number], everyone))
        found.append(Difference(features.what[number].name, *area.ends, float(adjusted[number]), words))
    return sorted(found, key=lambda each: (-abs(each.effect - 0.5), each.feature))


def _usual(values: Values, patients: CheckedPatients) -> tuple[float, float]:
    """Median over the unlabelled and over the reference patients of their mean."""
    means = np.array([values[rows].mean() for rows in patients.rows])
    return float(np.median(means[patients.unlabelled])), float(np.median(means[~patients.unlabelled]))


def _words(feature: Feature, area: float, usual: tuple[float, float]) -> str:
    """Such as ``unlabelled images are brighter (mean grey level 132 against 98)``."""
    unlabelled, reference = (f"{round(value, feature.decimals) + 0.0:,.{feature.decimals}f}" for value in usual)  # never -0
    if unlabelled == reference:
        unlabelled, reference = (f"{value:.2g}" for value in usual)
    kind = feature.more if area > 0.5 else feature.less
    return f"unlabelled images are {kind} ({feature.name} {unlabelled} against {reference})"
