"""Reliability of P(used): Brier score and calibration curve, by group."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from query.evaluation.classification import Floats
from query.evaluation.resampling import DRAWS, LEVEL, Estimate, Rows, grouped_interval, grouped_proportion

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Images whose P(used) lies in low..high: how many, the mean of P(used), and the share of them that were used."""

    low: float
    high: float
    images: int
    mean: float
    used: Estimate


def brier(
    probability: ArrayLike, used: ArrayLike, groups: ArrayLike, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Estimate:
    """Mean squared distance of P(used) from what was (Brier, 1950): 0 is best; whoever says 0.5 of every image gets 0.25.

    Args:
        probability: (n,) 0..1.
        used: (n,) bool.
        groups: (n,), as `draws`, `seed` and `level` see `query.evaluation.resampling.grouped_interval`.

    Raises:
        ValueError: a probability is not in 0..1.
    """
    square = (_checked(probability) - np.asarray(used, np.float64)) ** 2
    mean = partial(_mean, square)
    return grouped_interval(mean, groups, draws=draws, seed=seed, level=level)


def _mean(values: Floats, rows: Rows) -> float:
    return float(values[rows].mean()) if len(rows) else float("nan")


def brier_of_share(used: ArrayLike) -> float:
    """The Brier score of whoever says of every image the share of those used, and knows nothing else."""
    share = float(np.mean(np.asarray(used, np.float64))) if np.size(used) else float("nan")
    return share * (1 - share)


def reliability(
    probability: ArrayLike, used: ArrayLike, groups: ArrayLike, *, bins: int = BINS, level: float = LEVEL
) -> list[Bin]:
    """How often images were used, by predicted P(used): equal bins of P(used) (Murphy and Winkler, 1977).

    Args:
        probability, used, groups: see `brier`.
        bins: number of bins.

    Raises:
        ValueError: a probability is not in 0..1.
    """
    note, members, of = _checked(probability), np.asarray(used, bool), np.asarray(groups)
    place = np.minimum((note * bins).astype(np.int64), bins - 1)
    curve = []
    for number in np.unique(place):
        rows = place == number
        share = grouped_proportion(members[rows], of[rows], level=level)
        curve.append(Bin(number / bins, (number + 1) / bins, int(rows.sum()), float(note[rows].mean()), share))
    return curve


def _checked(probability: ArrayLike) -> Floats:
    note = np.asarray(probability, np.float64)
    if not ((note >= 0) & (note <= 1)).all():
        raise ValueError("a probability must be between 0 and 1")
    return note
