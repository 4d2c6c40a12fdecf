"""Methods `fusion` and `fusion-learned`: combine scores of all views.

`fusion`, the primary one: a list fixed beforehand, each score measured against all real images alike, averaged.
`fusion-learned`: all scores, weighed by what labelled images say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from query.membership.calibration import folds
from query.membership.case import USED, Answer, Case, MembershipError, Model, Needs, Rows, Values
from query.membership.labels import both_kinds
from query.membership.proximity import Measure, Nearness, measure, measure_of, nearness

# Score -> how much it counts; how it was chosen stands in docs/MEMBERSHIP.md.
PRIMARY: Mapping[tuple[str, Nearness], float] = {
    ("pixels", Nearness.PEAKS): 2.0,
    ("pixels", Nearness.AVERAGED): 1.0,
    ("pixels", Nearness.CONTEST): 1.0,
    ("pixels", Nearness.RESIDUAL): 1.0,
    ("resnet", Nearness.AVERAGED): 1.0,
}
FAR = 0.7  # of the images, the farthest: the scale is theirs, since few of them were used
_SAME = 1e-9  # scores that differ less are alike


@dataclass(frozen=True)
class Fusion:
    """Mean of scores in deviations of all real images: how much nearer to generated images than real images usually are.

    Deviations, not ranks: ranks end at the first place, where all that are far ahead are alike. Of deviations the logarithm
    counts (`compressed`): one score that is far off then does not outweigh all others. Labels have no part in it: a reference
    image and an unlabelled one are scored alike, whatever the sizes of their groups.

    Attributes:
        scores: (view, score) -> weight; those of views that the collection lacks are left out. Where it has none of these
            views, the contest of those it has.
    """

    scores: Mapping[tuple[str, Nearness], float] = field(default_factory=lambda: PRIMARY)
    name = "fusion"
    needs = Needs.REFERENCE
    looks = False
    views = ()

    def measures(self, case: Case) -> list[Measure]:
        """See `query.membership.proximity.Measuring`."""
        return [measure_of(*key) for key in self._chosen(case)]

    def fit(self, case: Case) -> Model:
        """Nothing to learn: the real images of the case are their own measure."""
        return Model(self.name)

    def answer(self, case: Case, model: Model) -> Answer:
        """Above 0 an image is nearer than usual. A score that is not defined counts as usual.

        Usual is the median of the farthest images, by a first mean in which all images give the scale.
        """
        chosen = self._chosen(case)
        measure(case, self.measures(case))
        table = np.array([nearness(case, *key) for key in chosen])
        weights, everybody = np.array(list(chosen.values())), np.ones(len(case.real), bool)
        first = _mean_of(table, weights, case.groups, everybody)
        value = _mean_of(table, weights, case.groups, first <= _quantile(first, case.groups, FAR))
        scores = [f"{which} of {view}" for view, which in chosen]
        note = "Used where it is nearer to generated images than reference images are, by " + ", ".join(scores) + "."
        return Answer(value, 0.0, calibrated=False, note=note, detail={"scores": scores, "weights": list(chosen.values())})

    def _chosen(self, case: Case) -> Mapping[tuple[str, Nearness], float]:
        chosen = {key: weight for key, weight in self.scores.items() if key[0] in case.generated.specs}
        return chosen or {(view, Nearness.CONTEST): 1.0 for view in sorted(case.generated.specs)}


def _mean_of(table: Values, weights: Values, groups: NDArray[np.generic], among: NDArray[np.bool_]) -> Values:
    """(n,) weighted mean of the compressed deviations of (scores, n); NaN where no score is defined."""
    known = (compressed(deviations(score, groups, among)) for score in table)
    parts = np.array([weight * score for score, weight in zip(known, weights, strict=True)])
    return np.where(np.isfinite(parts).any(axis=0), np.nansum(parts, axis=0) / weights.sum(), np.nan)


def compressed(deviation: Values) -> Values:
    """sign(z) log(1 + |z|): near 0 as it is, far from it by orders of magnitude."""
    return np.asarray(np.sign(deviation) * np.log1p(np.abs(deviation)))


def deviations(score: Values, groups: NDArray[np.generic], among: NDArray[np.bool_]) -> Values:
    """(n,) distance from the median of these images, in their median distances from it; each group counts alike.

    Median distances (the MAD of Hampel, Journal of the American Statistical Association 1974), since used images widen a standard
    deviation: a score must not count for less because it finds many.

    Args:
        score: (n,) NaN where it is not defined.
        groups: (n,) patients.
        among: (n,) bool, images that the median is taken over.
    """
    known = among & np.isfinite(score)
    if not known.any():
        return score - score
    middle = _quantile(score[known], groups[known], 0.5)
    far = np.abs(score[known] - middle)
    spread = _quantile(far, groups[known], 0.5)
    if spread < _SAME:  # more than half are alike
        spread = float(np.sqrt(np.average(far**2, weights=_counting_alike(groups[known]))))
    return (score - middle) / spread if spread >= _SAME else score - score


def _quantile(values: Values, groups: NDArray[np.generic], share: float) -> float:
    """Of the values that are known; each group counts alike. NaN without any."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return float("nan")
    order = known[np.argsort(values[known], kind="stable")]
    total = np.cumsum(_counting_alike(groups[order]))
    return float(values[order][np.searchsorted(total, share * total[-1] - 1e-9)])


def _counting_alike(groups: NDArray[np.generic]) -> Values:
    """(n,) weights that sum to 1 in each group."""
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(1 / sizes[member.ravel()])


@dataclass(frozen=True)
class LearnedFusion:
    """Logistic regression on every score of every view, its quadratic penalty chosen by grouped cross-validation.

    Attributes:
        penalties: values of scikit-learn's C to choose from.
        parts: of the cross-validation.
    """

    penalties: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    parts: int = 5
    name = "fusion-learned"
    needs = Needs.LABELS
    looks = True
    views = ()

    def measures(self, case: Case) -> list[Measure]:
        """See `query.membership.proximity.Measuring`."""
        return [measure_of(view, which) for view in sorted(case.generated.specs) for which in Nearness]

    def fit(self, case: Case) -> Model:
        """Arrays: mean and spread of each score, weights. The scores belong to the number of generated images."""
        both_kinds(case, self.name)
        views = sorted(case.generated.specs)
        scores, rows = _filled(_table(case, views)), case.labelled
        labels = case.used[rows] == USED
        parts = [np.searchsorted(rows, part) for part in folds(rows, case.groups, self.parts, case.seed)]
        losses = [sum(_loss(scores[rows], labels, part, c) for part in parts) for c in self.penalties]
        chosen = self.penalties[int(np.argmin(losses))]
        mean, spread, weights = _regression(scores[rows], labels, chosen)
        arrays = {"mean": mean, "spread": spread, "weights": weights}
        return Model(self.name, arrays, {"views": views, "penalty": chosen, "generated": len(case.generated)})

    def answer(self, case: Case, model: Model) -> Answer:
        """Log odds; used from even odds on. An image that no view sees anything in has none."""
        lacking = [view for view in model.facts["views"] if view not in case.generated.specs]
        if lacking:
            raise MembershipError(f"the model of {self.name} needs view {lacking[0]}, which the collection lacks; index with it")
        table, learned = _table(case, model.facts["views"]), (model.arrays[name] for name in ("mean", "spread", "weights"))
        value = np.where(np.isfinite(table).any(axis=1), _odds(_filled(table), *learned), np.nan)
        note = "Used from even odds on, by a regression on all scores of all views."
        return Answer(value, 0.0, calibrated=True, note=note, detail={"penalty": model.facts["penalty"]})


def _table(case: Case, views: list[str]) -> Values:
    """(nr, scores) float64, NaN where a score is not defined."""
    measure(case, [measure_of(view, which) for view in views for which in Nearness])
    return np.array([nearness(case, view, which) for view in views for which in Nearness]).T


def _filled(table: Values) -> Values:
    """A score that is not defined is the median of the others: it says nothing."""
    known = [column[np.isfinite(column)] for column in table.T]
    return np.where(np.isfinite(table), table, [np.median(column) if len(column) else 0.0 for column in known])


def _regression(scores: Values, labels: NDArray[np.bool_], penalty: float) -> tuple[Values, Values, Values]:
    """Mean and spread of each score, and weights, the offset last."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = scores.mean(axis=0), np.maximum(scores.std(axis=0), 1e-9)
    # Newton's method, to the end: quick for so few scores, and the same for every order of the images
    solver = LogisticRegression(C=penalty, class_weight="balanced", solver="newton-cholesky", tol=1e-8)
    fitted = solver.fit((scores - mean) / spread, labels)
    return mean, spread, np.append(fitted.coef_[0], fitted.intercept_)


def _odds(scores: Values, mean: Values, spread: Values, weights: Values) -> Values:
    return np.asarray((scores - mean) / spread @ weights[:-1] + weights[-1])


def _loss(scores: Values, labels: NDArray[np.bool_], part: Rows, penalty: float) -> float:
    """Sum of log losses of one part, by a regression on the others; 0 where those are all of one kind."""
    others = np.setdiff1d(np.arange(len(labels)), part)
    if labels[others].all() or not labels[others].any():
        return 0.0
    odds = _odds(scores[part], *_regression(scores[others], labels[others], penalty))
    return float(np.logaddexp(0, np.where(labels[part], -odds, odds)).sum())
