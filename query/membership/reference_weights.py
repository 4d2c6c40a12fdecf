"""Weights that let reference patients of another mixture stand for unlabelled ones: weighted conformal prediction.

Where the sides differ, but in nothing that one of them lacks, a reference patient can count for as many as are like it among the
unlabelled ones (Tibshirani, Foygel Barber, Candès and Ramdas, NeurIPS 2019). The p-value of a patient of weight w is then
(w + weights of the reference patients that are at least as near) / (w + weights of all).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from query.evaluation.resampling import auroc
from query.membership.case import MembershipError, Rows, Values
from query.membership.reference_check import DRAWS, CheckedPatients, Features
from query.membership.two_samples import FOLDS

BOUND = 20.0  # a patient counts for at most so many, and at least for one so-manieth
LEAST = 20  # reference patients that the weighted ones must be worth: with fewer hardly a p-value reaches 0.05
SEPARABLE = 0.95  # AUROC of the classifier above which the sides have next to nothing in common


@dataclass(frozen=True)
class Weights:
    """Weights of images.

    Attributes:
        of_row: (n,) float64, positive, the same within a patient; 1 of images that are on no side, or of patients on both.
        effective: reference patients without weights that the weighted ones are worth (Kish 1965).
    """

    of_row: Values
    effective: float


def weights_of(features: Features, groups: NDArray[Any], tested: Rows, reference: Rows, seed: int = 0) -> Weights:
    """The likelihood ratio of each patient, unlabelled to reference: odds of a classifier that has not seen this patient.

    The classifier is a logistic regression on normal scores of the features; its L2 penalty is chosen by cross-validation. As in
    the check, equally many slices of each patient are drawn; logarithms of odds are averaged over draws.

    Args:
        features: of all images.
        groups: (n,) patients.
        tested, reference: rows of unlabelled images, and of images known not to be used.
        seed: random seed.

    Raises:
        MembershipError: the patients are too few, or have too little in common.
    """
    patients = CheckedPatients.of(features.values, groups, tested, reference)
    if min(patients.counts) < LEAST:
        raise MembershipError(_refusal(f"either side needs at least {LEAST} patients, there are {min(patients.counts)}"))
    rng = np.random.default_rng(seed)
    fewest = int(patients.slices.min())
    draws = 1 if fewest == patients.slices.max() else DRAWS
    drawn = [patients.drawn(features.values, fewest, rng) for _ in range(draws)]
    odds = np.mean([_log_ratio(each, patients.unlabelled, seed) for each in drawn], axis=0)
    separation = auroc(odds, patients.unlabelled)
    if separation > SEPARABLE:
        raise MembershipError(_refusal(f"a classifier tells the sides apart with an AUROC of {separation:.2f}"))
    ratio = np.exp(np.clip(odds, -np.log(BOUND), np.log(BOUND)))
    of_reference = ratio[~patients.unlabelled]
    effective = float(of_reference.sum() ** 2 / (of_reference**2).sum())
    if effective < LEAST:
        raise MembershipError(_refusal(f"weighted, the {len(of_reference)} reference patients are worth {effective:.0f}"))
    of_row = np.ones(len(groups))
    for rows, weight in zip(patients.rows, ratio, strict=True):
        of_row[rows] = weight
    return Weights(of_row, effective)


def _log_ratio(values: Values, unlabelled: NDArray[np.bool_], seed: int) -> Values:
    """(patients,) logarithm of the likelihood ratio: cross-fitted log odds less those of the numbers of patients."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    ranks = rankdata(values[:, np.ptp(values, axis=0) > 0], axis=0)
    scores = norm.ppf((ranks - 0.5) / len(ranks))
    inner, outer = (StratifiedKFold(FOLDS, shuffle=True, random_state=each) for each in (seed + 1, seed))
    penalties = {"Cs": np.logspace(-3, 1, 7), "l1_ratios": (0,), "use_legacy_attributes": False}
    model = LogisticRegressionCV(**penalties, cv=inner, scoring="neg_log_loss", max_iter=1000)
    odds = cross_val_predict(model, scores / scores.std(axis=0), unlabelled, cv=outer, method="decision_function")
    return np.asarray(odds - np.log(unlabelled.mean() / (1 - unlabelled.mean())))


def _refusal(why: str) -> str:
    return f"weights cannot repair this reference: {why}; name reference images of the same kind by --unused DIR"
