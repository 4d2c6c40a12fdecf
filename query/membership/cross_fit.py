"""Predict one case by one method: cross-fitted values, threshold, p-values, P(used), decisions.

A labelled image is predicted without its own label and without those of its group.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from query.membership.calibration import (
    Probability,
    best_threshold,
    folds,
    least_rejected,
    p_values,
    probability,
    q_values,
    smallest_p,
    wrong_threshold,
)
from query.membership.case import (
    NOT_USED,
    UNKNOWN,
    USED,
    Answer,
    Case,
    Draws,
    MembershipError,
    Method,
    Model,
    Needs,
    Rows,
    Values,
    applied_to,
)
from query.membership.features import contents

UNTOLD = " Which images the model was fitted on is not known here, so it may have seen these."
WRONG = 0.1  # share of the reference that a forced yes may hit, where no used images are known


class Role(StrEnum):
    """What of an image's membership was known when it was predicted."""

    UNLABELLED = "unlabelled"  # nothing
    CROSS_FITTED = "cross-fitted"  # its label is known, but neither it nor that of its group was looked at
    SEEN = "seen"  # its label was looked at: never to be evaluated
    PERHAPS_SEEN = "perhaps seen"  # a model was fitted on images that nobody here can tell: never to be evaluated


class Decision(StrEnum):
    """The three answers."""

    USED = "used"
    NOT_USED = "not used"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class PredictionSettings:
    """What is fixed before anything is predicted.

    Attributes:
        primary: the method whose answers count; all others are exploratory.
        fdr: q-value up to which an image is predicted used: the share of false ones among them that is accepted.
        prior: share of used images among unlabelled ones, for P(used).
        sure: P(not used) from which an image is called not used.
        folds: parts of the labelled images, each predicted from the others; at least 3, since thresholds take a further part.
        draws: where a model's threshold was found with fewer generated images: draws of as many to match it by, 0 refuses.

    Raises:
        ValueError: a value out of range.
    """

    primary: str = "fusion"
    fdr: float = 0.1
    prior: float = 0.5
    sure: float = 0.9
    folds: int = 5
    draws: int = 0

    def __post_init__(self) -> None:
        inside = all(0 < share < 1 for share in (self.fdr, self.prior, self.sure))
        if not inside or self.folds < 3 or self.draws < 0:
            raise ValueError("fdr, prior and sure must lie between 0 and 1, folds be at least 3, draws not negative")


@dataclass(frozen=True)
class Prediction:
    """What one method says of every real image of a case.

    Attributes:
        method: its name.
        value: (nr,) float64, larger speaks for used; NaN where it cannot tell.
        threshold: (nr,) float64; used where value >= threshold.
        p: (nr,) conformal p-values, NaN without a reference.
        q: (nr,) of the primary method, else NaN; labelled images are a family of tests of their own.
        probability: (nr,) P(used), NaN where images of one kind are not known.
        role: of each image.
        decision: of each image, None of methods that are not primary.
        calibrated: whether the threshold stands on images whose membership is known.
        note: where values and threshold come from, for people.
        facts: JSON-able: numbers of reference images and tests, what they can show, prior.
        detail: of `Answer`.
        model: what was learned.
    """

    method: str
    value: Values
    threshold: Values
    p: Values
    q: Values
    probability: Values
    role: list[Role]
    decision: list[Decision | None]
    calibrated: bool
    note: str
    facts: Mapping[str, Any]
    detail: Mapping[str, Any]
    model: Model

    @property
    def used(self) -> list[bool | None]:
        """The binary prediction."""
        pairs = zip(self.value, self.threshold, strict=True)
        return [None if np.isnan(value) else bool(value >= threshold) for value, threshold in pairs]


def cross_fit(method: Method, case: Case, terms: PredictionSettings, given: Model | None = None) -> Prediction:
    """Predict every real image of a case.

    Unlabelled images are predicted with all labels, labelled ones by group in `PredictionSettings.folds` parts, each without its
    labels.

    Args:
        method, case, terms: the method, its images, and what is fixed beforehand.
        given: a model that was fitted before; without it the method is fitted on the case's labels.

    Raises:
        MembershipError: the method lacks what it needs, or the model does not fit the case.
    """
    for view in method.views:
        if view not in case.generated.specs:
            raise MembershipError(f"{method.name} needs view {view}, which the collection lacks; index with --view {view} too")
    parts = folds(case.labelled, case.groups, terms.folds, case.seed)
    model = given or method.fit(case)
    answer = applied(method, case, model, terms.draws)
    p = _p(method, case, given, terms, answer)
    value, own = answer.value.copy(), np.full(len(case.real), answer.threshold)
    for part in parts:
        value[part], own[part], p[part] = _without(method, case, part, given, terms, answer)
    apart = [] if given else list(zip(parts, _apart(method, case, value, parts), strict=True))
    threshold, calibrated, source = _thresholds(method, case, value, own, apart, model)
    chances, curve = _probabilities(case, value, apart, terms, given)
    q = _q(case, p) if method.name == terms.primary else np.full(len(p), np.nan)
    none: list[Decision | None] = [None] * len(value)
    return Prediction(
        method=method.name,
        value=value,
        threshold=threshold,
        p=p,
        q=q,
        probability=chances,
        role=_roles(case, given),
        decision=_decisions(q, chances, terms) if method.name == terms.primary else none,
        calibrated=answer.calibrated or calibrated,
        note=f"{answer.note} {source}{UNTOLD if given and given.seen is None else ''}".strip(),
        facts=_facts(case, method, p, terms, curve),
        detail=answer.detail,
        model=model if given else _completed(model, method, case, value, curve),
    )


def applied(method: Method, case: Case, model: Model, draws: int = 0) -> Answer:
    """The method's answer with a model; where its threshold belongs to fewer generated images, the mean over draws of as many.

    Raises:
        MembershipError: the numbers differ and no draws are wanted, or there are fewer generated images than the model had.
    """
    needed = applied_to(method.name, model, len(case.generated), draws)
    if needed == len(case.generated):
        return method.answer(case, model)
    answers = [method.answer(each, model) for each in case.draws(Draws(needed, draws))]
    note = f"{answers[0].note} Mean over {draws} draws of {needed:,} generated images."
    return replace(answers[0], value=np.mean([answer.value for answer in answers], axis=0), note=note)


def _p(method: Method, case: Case, given: Model | None, terms: PredictionSettings, answer: Answer) -> Values:
    """p-values where there is a reference and the method does not learn from it by heart."""
    if (method.needs is Needs.LABELS and given is None) or not len(case.reference):
        return np.full(len(case.real), np.nan)
    if len(np.unique(case.groups[case.reference])) < 2:
        if _looks(method, given):
            few = f"{method.name}: too few groups (patients) among the images known not to be used"
            raise MembershipError(f"{few}; name more with --unused DIR, of several patients")
        return np.full(len(case.real), np.nan)
    if not _looks(method, given):
        return p_values(case, lambda part: answer.value)
    return p_values(case, lambda part: applied(method, part, given or method.fit(part), terms.draws).value)


def _looks(method: Method, given: Model | None) -> bool:
    """Whether the labels of a case have a part in the answer."""
    return method.needs is Needs.REFERENCE or (method.needs is Needs.LABELS and given is None)


def _without(
    method: Method, case: Case, part: Rows, given: Model | None, terms: PredictionSettings, answer: Answer
) -> tuple[Values, NDArray[np.float64], Values]:
    """Value, threshold and p-value of these labelled images, predicted without their labels; `answer` is that with all."""
    others = case.forgetting(part)
    if _looks(method, given):
        answer = applied(method, others, given or method.fit(others), terms.draws)
    return answer.value[part], np.full(len(part), answer.threshold), _p(method, others, given, terms, answer)[part]


def _apart(method: Method, case: Case, value: Values, parts: list[Rows]) -> list[Values]:
    """For each part the values of the labelled images besides it, which its threshold and its P(used) are found from.

    Each is found without the labels of that part either: where the reference belongs to the case, a label has a share in the
    values of all others. What learns would have to be fitted for every two parts, which takes too long: there the values are
    those of models that saw the part, and P(used) of labelled images (nothing else) knows their labels at second hand.
    """
    found = [value.copy() for _ in parts]
    for one, other in combinations(range(len(parts)), 2) if method.needs is Needs.REFERENCE else ():
        rest = case.forgetting(np.concatenate([parts[one], parts[other]]))
        without = method.answer(rest, method.fit(rest)).value
        found[one][parts[other]], found[other][parts[one]] = without[parts[other]], without[parts[one]]
    return found


def _thresholds(
    method: Method, case: Case, value: Values, own: Values, apart: list[tuple[Rows, Values]], model: Model
) -> tuple[Values, bool, str]:
    """(nr,) threshold of each image, whether labels found it, and a sentence on it; `apart` is each part with `_apart`."""
    if method.needs is not Needs.REFERENCE or "generated" in model.facts:
        if "threshold" in model.facts:  # only a model that was saved has one
            return np.full(len(value), model.facts["threshold"]), True, "Threshold of the model."
        return own, False, ""
    both = bool((case.used == USED).any())
    threshold = np.full(len(value), _threshold(value, case.used))
    for part, values in apart:
        threshold[part] = _threshold(values, case.forgetting(part).used)
    if both:
        return threshold, True, "Threshold of the best balanced accuracy on labelled images."
    return threshold, True, f"Threshold that at most {WRONG:.0%} of the images known not to be used reach."


def _threshold(value: Values, used: NDArray[np.int8]) -> float:
    found = best_threshold(value, used)
    found = wrong_threshold(value, used, WRONG) if found is None else found
    return float("nan") if found is None else found


def _probabilities(
    case: Case, value: Values, apart: list[tuple[Rows, Values]], terms: PredictionSettings, given: Model | None
) -> tuple[Values, Probability | None]:
    """(nr,) P(used), and the curve for unlabelled images."""
    if given:
        facts = given.facts.get("probability")
        curve = Probability(**facts) if facts else None
        return (curve.of(value) if curve else np.full(len(value), np.nan)), curve
    curve = probability(value, case.used, terms.prior)
    if curve is None:
        return np.full(len(value), np.nan), None
    found = curve.of(value)
    for part, values in apart:
        without = probability(values, case.forgetting(part).used, terms.prior)
        found[part] = without.of(value[part]) if without else np.nan
    return found, curve


def _q(case: Case, p: Values) -> Values:
    """q-values of the unlabelled images, and apart from them those of the labelled ones."""
    q = np.full(len(p), np.nan)
    for rows in (case.used == UNKNOWN, case.used != UNKNOWN):
        q[rows] = q_values(p[rows])
    return q


def _decisions(q: Values, chances: Values, terms: PredictionSettings) -> list[Decision | None]:
    """Used at the chosen q-value; not used only where labelled images say so: a large distance alone clears nobody."""
    used, cleared = q <= terms.fdr, chances <= 1 - terms.sure  # NaN compares as False
    return list(np.where(used, Decision.USED, np.where(cleared, Decision.NOT_USED, Decision.UNDECIDED)).tolist())


def _roles(case: Case, given: Model | None) -> list[Role]:
    seen = given.seen if given else frozenset[str]()
    if seen is None:
        return [Role.PERHAPS_SEEN] * len(case.real)
    digests = [one.hex() for one in contents(case.real, np.arange(len(case.real)))] if seen else [""] * len(case.real)
    known = [Role.UNLABELLED if used == UNKNOWN else Role.CROSS_FITTED for used in case.used]
    return [Role.SEEN if digest in seen else role for digest, role in zip(digests, known, strict=True)]


def _facts(case: Case, method: Method, p: Values, terms: PredictionSettings, curve: Probability | None) -> dict[str, Any]:
    tests = int(np.isfinite(p[case.used == UNKNOWN]).sum())
    reference = int(np.isfinite(p).any()) * len(case.reference)
    found: dict[str, Any] = {
        "needs": str(method.needs),
        "primary": method.name == terms.primary,
        "used": int((case.used == USED).sum()),
        "not_used": int((case.used == NOT_USED).sum()),
        "generated": len(case.generated),
        "prior": curve.prior if curve else None,
        "fdr": terms.fdr,
    }
    if reference:
        least = least_rejected(reference, tests, terms.fdr)
        found |= {"reference": reference, "tests": tests, "smallest_p": smallest_p(reference), "least_rejected": least}
    return found


def _completed(model: Model, method: Method, case: Case, value: Values, curve: Probability | None) -> Model:
    """The model with all that applying it later needs: threshold, curve, and whose labels it has seen."""
    facts, seen = dict(model.facts), frozenset[str]()
    if method.needs is Needs.REFERENCE and "generated" not in facts:
        facts |= {"threshold": _threshold(value, case.used), "generated": len(case.generated)}
    if curve:
        facts["probability"] = {"slope": curve.slope, "offset": curve.offset, "prior": curve.prior}
    if method.needs is not Needs.NOTHING:
        seen = frozenset(one.hex() for one in contents(case.real, case.labelled))
    return replace(model, facts=facts, seen=seen)
