"""Agreement between readers beyond chance: Cohen's kappa, Fleiss' kappa, Krippendorff's alpha, with intervals by group.

Labels are (n, readers) whole numbers from 0 on, `MISSING` where a reader gave none; categories have no order (nominal).
For complete labels Fleiss' kappa and Krippendorff's alpha serve alike, where some are missing alpha does, and both take bootstrap
intervals (Zapf et al., 2016, BMC Medical Research Methodology 16:93).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from query.evaluation.classes import ClassMeasure, confusion_of, kappa_and_balanced
from query.evaluation.resampling import Estimate, grouped_interval, grouped_proportion

MISSING = -1

Labels = NDArray[np.int64]
Coefficient = Callable[[Labels], float]


def cohen_kappa(labels: ArrayLike) -> float:
    """Cohen's kappa (1960) of two readers: ``(p_o - p_e) / (1 - p_e)``, `p_e` from each reader's own shares.

    Args:
        labels: (n, 2); pairs that one of them left out do not count.

    Returns:
        1 for full agreement, 0 for that of chance; NaN without pairs, or where both give one and the same label throughout.

    Raises:
        ValueError: there are not two readers.
    """
    given = _labels(labels)
    if given.shape[1] != 2:
        raise ValueError(f"Cohen's kappa takes two readers, got {given.shape[1]}")
    both = given[(given != MISSING).all(axis=1)]
    counted = confusion_of(both[:, 0], both[:, 1], _categories(given))
    return float(kappa_and_balanced(counted)[ClassMeasure.KAPPA])


def fleiss_kappa(labels: ArrayLike) -> float:
    """Fleiss' kappa (1971) of two readers or more, `p_e` from the shares of all labels together.

    Args:
        labels: (n, readers); pairs that a reader left out do not count.

    Returns:
        As `cohen_kappa`.

    Raises:
        ValueError: there are fewer than two readers.
    """
    given = _labels(labels)
    counts = _counts(given[(given != MISSING).all(axis=1)], _categories(given))
    readers = given.shape[1]
    agreeing = (counts * (counts - 1)).sum(axis=1) / (readers * (readers - 1))
    shares = counts.sum(axis=0) / max(counts.sum(), 1)
    return _beyond(_mean(agreeing), float(shares @ shares))


def krippendorff_alpha(labels: ArrayLike) -> float:
    """Krippendorff's alpha for nominal labels (2011, Computing Krippendorff's Alpha-Reliability): ``1 - D_o / D_e``.

    Args:
        labels: (n, readers); pairs with two labels or more count, whoever left out others.

    Returns:
        As `cohen_kappa`.

    Raises:
        ValueError: there are fewer than two readers.
    """
    given = _labels(labels)
    counts = _counts(given, _categories(given))
    counts = counts[counts.sum(axis=1) > 1]
    of_pair, of_label = counts.sum(axis=1), counts.sum(axis=0)
    total = int(of_label.sum())
    if not total:
        return float("nan")
    same = (counts * (counts - 1)).sum(axis=1) / (of_pair - 1)
    return _beyond(float(same.sum() / total), float((of_label * (of_label - 1)).sum() / (total * (total - 1))))


def agreement_interval(coefficient: Coefficient, labels: ArrayLike, groups: ArrayLike, *, seed: int = 0) -> Estimate:
    """A coefficient with its 95% interval: a bootstrap by whole groups, see `query.evaluation.resampling.grouped_interval`.

    Readers who never disagree would resample to 1: there the lower end is the coefficient's value at Clopper and Pearson's lower
    end of the share of groups in which all agree, chance being left as it is.

    Args:
        coefficient: one of this module.
        labels: (n, readers).
        groups: (n,) patient of each pair.
        seed: of the resamples.
    """
    given = _labels(labels)
    found = grouped_interval(lambda rows: coefficient(given[rows]), groups, seed=seed)
    counted = (given != MISSING).sum(axis=1) > 1
    if found.value < 1 or not counted.any():
        return found
    share = grouped_proportion(np.ones(int(counted.sum()), bool), np.asarray(groups)[counted])
    chance = _chance(given[counted])
    low = 1 - (1 - share.low) / (1 - chance)
    return Estimate(1.0, low, 1.0, share.n)


def _chance(given: Labels) -> float:
    """Agreement by chance where all readers give the same labels."""
    shares = _counts(given, _categories(given)).sum(axis=0) / (given != MISSING).sum()
    return float(shares @ shares)


def _labels(labels: ArrayLike) -> Labels:
    given = np.asarray(labels, np.int64)
    if given.ndim != 2 or given.shape[1] < 2:
        raise ValueError(f"labels must be (n, readers) of two readers or more, got {given.shape}")
    return given


def _categories(given: Labels) -> int:
    return int(given.max(initial=0)) + 1


def _counts(given: Labels, categories: int) -> Labels:
    """(n, categories) how many readers gave each label."""
    return np.stack([(given == label).sum(axis=1) for label in range(categories)], axis=1)


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _beyond(observed: float, chance: float) -> float:
    """Share of the agreement beyond chance that was reached; NaN where chance alone agrees fully."""
    return (observed - chance) / (1 - chance) if chance < 1 else float("nan")
