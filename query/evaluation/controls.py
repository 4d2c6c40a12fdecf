"""Negative controls: AUROC under permuted labels and between random halves, and from grey levels alone, by group.

Three controls show how far from 0.5 an AUROC comes by chance: labels shuffled, used against used, not used against not used. The
fourth looks at grey levels alone: if it tells used from not used, so may a method that never looked for copies.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embeddings.types import GreyImage
from query.evaluation.classification import Floats
from query.evaluation.ranking import auroc_interval
from query.evaluation.resampling import Estimate, auroc, permuted_labels

DRAWS = 1000
FITS = 199  # permutations of labels for which the intensity classifier is fitted anew
FOLDS = 5
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_FEWEST = 2  # groups of a kind that a fold needs at least


class Control(StrEnum):
    """What is compared."""

    SHUFFLED = "shuffled labels"
    USED = "used against used"
    NOT_USED = "not used against not used"


@dataclass(frozen=True)
class Spread:
    """AUROCs where no difference is: their mean (0.5, up to chance) and the middle 95% of them.

    Attributes:
        control: what was compared.
        draws: how often; 0 where there are too few groups, and the numbers are NaN.
        mean, low, high: of the AUROCs.
    """

    control: Control
    draws: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Intensity:
    """How well grey levels alone tell used images from others.

    Attributes:
        area: cross-fitted AUROC; its interval by groups takes the fitted models as given, so it is too narrow.
        p_value: share of permuted labels, fitted anew each time, that do as well; this is what to go by.
        reason: why there is none, else empty.
    """

    area: Estimate
    p_value: float
    reason: str = ""


def shuffled(scores: ArrayLike, used: ArrayLike, groups: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Spread:
    """AUROCs of the scores for labels permuted as `query.evaluation.resampling.permuted_labels` does.

    Args:
        scores: (n,) finite.
        used: (n,) bool.
        groups: (n,) of any type that can be sorted.
    """
    values = np.asarray(scores, np.float64)
    aurocs = np.array([auroc(values, labels) for labels in permuted_labels(used, groups, draws, seed)])
    return _spread(Control.SHUFFLED, aurocs)


def halves(scores: ArrayLike, used: ArrayLike, groups: ArrayLike, kind: bool, *, draws: int = DRAWS, seed: int = 0) -> Spread:
    """AUROCs of the scores of images of one kind between random halves of their groups.

    Args:
        scores, used, groups: see `shuffled`.
        kind: of used images, or of those not used.
    """
    chosen = np.asarray(used, bool) == kind
    values = np.asarray(scores, np.float64)[chosen]
    _, member = np.unique(np.asarray(groups)[chosen], return_inverse=True)
    number = int(member.max(initial=-1)) + 1
    rng = np.random.default_rng(seed)
    sides = (rng.permutation(number) < number // 2 for _ in range(draws if number > 1 else 0))
    aurocs = np.array([auroc(values, side[member]) for side in sides])
    return _spread(Control.USED if kind else Control.NOT_USED, aurocs)


def intensity_features(images: Iterable[GreyImage]) -> Floats:
    """(n, 9) mean, standard deviation and seven quantiles of the grey levels of each (H, W) image."""
    return np.array([[image.mean(), image.std(), *np.quantile(image, _QUANTILES)] for image in images]).reshape(-1, 9)


def intensity(features: Floats, used: ArrayLike, groups: ArrayLike, *, fits: int = FITS, seed: int = 0) -> Intensity:
    """Tell used images from others by their grey levels, each scored by a model that saw no image of its group.

    Standardised features, logistic regression with an L2 penalty, five folds of whole groups, fewer where there are
    fewer groups.

    Args:
        features: (n, k), see `intensity_features`.
        used: (n,) bool.
        groups: (n,) of any type that can be sorted.
        fits: permutations of the labels for the p-value.
        seed: of folds and permutations.
    """
    members, of = np.asarray(used, bool), np.asarray(groups)
    _, member = np.unique(of, return_inverse=True)
    fewest = min(len(np.unique(member[members])), len(np.unique(member[~members])))
    if fewest < _FEWEST:
        nothing = Estimate(np.nan, np.nan, np.nan, len(np.unique(member)))
        return Intensity(nothing, np.nan, f"needs at least {_FEWEST} groups of either kind, one kind has {fewest}")
    folds = min(FOLDS, fewest)
    area = auroc_interval(_cross_fitted(features, members, member, folds, seed), members, member)
    drawn = permuted_labels(members, member, fits, seed)
    chance = [auroc(_cross_fitted(features, labels, member, folds, seed), labels) for labels in drawn]
    as_good = np.sum(np.array(chance) >= area.value - 1e-9)
    return Intensity(area, float((1 + as_good) / (1 + fits)))


def _cross_fitted(features: Floats, used: NDArray[np.bool_], member: NDArray[np.integer], folds: int, seed: int) -> Floats:
    """(n,) log odds of each image from models of the other folds, without their intercepts.

    Models of different folds saw different shares of used images; with that in the odds, pooling them would rank folds.
    """
    from sklearn.linear_model import LogisticRegression

    share = np.bincount(member, used) / np.bincount(member)
    order = np.lexsort((np.random.default_rng(seed).random(len(share)), share))  # so that folds hold both kinds alike
    fold = np.empty(len(share), np.int64)
    fold[order] = np.arange(len(share)) % folds
    odds = np.zeros(len(used))
    for number in range(folds):
        held_out = fold[member] == number
        seen = features[~held_out]
        scale = np.where(seen.std(axis=0) > 0, seen.std(axis=0), 1)
        model = LogisticRegression(solver="newton-cholesky").fit((seen - seen.mean(axis=0)) / scale, used[~held_out])
        odds[held_out] = ((features[held_out] - seen.mean(axis=0)) / scale) @ model.coef_[0]
    return odds


def _spread(control: Control, aurocs: Floats) -> Spread:
    known = aurocs[np.isfinite(aurocs)]
    if not len(known):
        return Spread(control, 0, np.nan, np.nan, np.nan)
    low, high = np.quantile(known, [0.025, 0.975])
    return Spread(control, len(known), float(known.mean()), float(low), float(high))
