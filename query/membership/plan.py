"""Plan a study by simulation: how many patients who were not used it takes to call used ones."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from query.membership.calibration import least_rejected, q_values, smallest_p
from query.membership.patients import patient_p_values
from query.membership.set_test import LEVEL, set_test

DRAWS = 20
REFERENCES = (5, 10, 20, 40, 80, 160, 320)


@dataclass(frozen=True)
class Study:
    """What is planned.

    Attributes:
        patients: unlabelled ones.
        used: how many of them were used, with all their slices.
        slices, reference_slices: of each unlabelled patient, of each reference patient.
        auroc: of single used slices against unused ones, between 0.5 and 1.
        alike: correlation of the scores of one patient's slices, at least 0 and below 1.
        fdr: q-value up to which a patient is called used.

    Raises:
        ValueError: a number out of range.
    """

    patients: int
    used: int
    slices: int = 1
    reference_slices: int = 1
    auroc: float = 0.85
    alike: float = 0.5
    fdr: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.used <= self.patients or min(self.slices, self.reference_slices) < 1:
            raise ValueError("of at least one patient at least one and at most all can be used, with at least one slice each")
        if not (0.5 <= self.auroc < 1 and 0 <= self.alike < 1 and 0 < self.fdr < 1):
            raise ValueError("auroc must lie between 0.5 and 1, alike between 0 and 1, fdr between 0 and 1")


@dataclass(frozen=True)
class Power:
    """What so many reference patients show, on average over draws.

    Attributes:
        reference: patients.
        smallest_p: of a patient.
        together: patients that must reach it together before one can be called.
        called: used patients called used.
        false_share: of the patients called used.
        set_power: share of draws in which the test of the whole set is significant.
        share_low: lower bound of the share of used patients.
    """

    reference: int
    smallest_p: float
    together: int
    called: float
    false_share: float
    set_power: float
    share_low: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)


def plan(study: Study, references: Sequence[int] = REFERENCES, draws: int = DRAWS, seed: int = 0) -> list[Power]:
    """What each number of reference patients shows.

    Scores of slices are normal, those of used slices farther up by as much as the AUROC says (equal variances: sqrt(2) times its
    normal quantile). So it is a plan, no promise: real scores have other distributions.

    Args:
        study: what is planned.
        references: numbers of reference patients, at least 2 each.
        draws: simulated studies of each.
        seed: of the draws.
    """
    return [_power(study, reference, draws, seed) for reference in references]


def _power(study: Study, reference: int, draws: int, seed: int) -> Power:
    called, false, significant, low = [], [], [], []
    for draw in range(draws):
        values, groups = _scores(study, reference, np.random.default_rng([seed, reference, draw]))
        tested, known = np.flatnonzero(groups < study.patients), np.flatnonzero(groups >= study.patients)
        _, p = patient_p_values(values, groups, tested, known, draw)
        found = q_values(p[: study.patients]) <= study.fdr
        whole = set_test(values, groups, tested, known, draw)
        called.append(int(found[: study.used].sum()))
        false.append(float(found[study.used :].sum() / max(1, found.sum())))
        significant.append(whole.p_value <= LEVEL)
        low.append(whole.share_low)
    together = least_rejected(reference, study.patients, study.fdr)
    means = [float(np.mean(each)) for each in (called, false, significant, low)]
    return Power(reference, smallest_p(reference), together, *means)


def _scores(study: Study, reference: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values and groups; used patients first, reference patients last."""
    sizes = [study.slices] * study.patients + [study.reference_slices] * reference
    groups = np.repeat(np.arange(len(sizes)), sizes)
    patients, slices = rng.normal(size=len(sizes)), rng.normal(size=len(groups))
    farther = sqrt(2) * NormalDist().inv_cdf(study.auroc)
    return sqrt(study.alike) * patients[groups] + sqrt(1 - study.alike) * slices + farther * (groups < study.used), groups
