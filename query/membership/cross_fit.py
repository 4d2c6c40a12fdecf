"""Predict one case by one method: cross-fitted values, threshold, p-values, P(used), decisions.

A labelled image is predicted without its own label and without those of its group.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from query.membership.calibration import (
    Evidence,
    Probability,
    best_threshold,
    evidence,
    folds,
    least_rejected,
    probability,
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
from query.membership.decisions import Decision, PatientPredictions, Role, decisions_of_images, decisions_of_patients
from query.membership.features import contents
from query.membership.set_test import SetTest, set_test

UNTOLD = " Which images the model was fitted on is not known here, so it may have seen these."
EVEN = 0.5  # prior that the curve of P(used) is fitted with
WRONG = 0.1  # share of the reference that a forced yes may hit, where no used images are known


@dataclass(frozen=True)
class PredictionSettings:
    """What is fixed before anything is predicted.

    Attributes:
        primary: the method whose answers count; all others are exploratory.
        fdr: q-value up to which a patient is predicted used: the share of false ones among them that is accepted.
        priors: lowest and highest share of used images among unlabelled ones, for P(used).
        folds: parts of the labelled images, each predicted from the others; at least 3, since thresholds take a further part.
        draws: where a model's threshold was found with fewer generated images: draws of as many to match it by, 0 refuses.

    Raises:
        ValueError: a value out of range.
    """

    primary: str = "fusion"
    fdr: float = 0.1
    priors: tuple[float, float] = (0.1, 0.9)
    folds: int = 5
    draws: int = 0

    def __post_init__(self) -> None:
        inside = all(0 < share < 1 for share in (self.fdr, *self.priors)) and self.priors[0] <= self.priors[1]
        if not inside or self.folds < 3 or self.draws < 0:
            raise ValueError(
                "fdr and priors must lie between 0 and 1, the lower prior first, folds be at least 3, draws not negative"
            )


@dataclass(frozen=True)
class Prediction:
    """What one method says of every real image of a case.

    Attributes:
        method: its name.
        value: (nr,) float64, larger speaks for used; NaN where it cannot tell.
        threshold: (nr,) float64; used where value >= threshold.
        p: (nr,) conformal p-values, NaN without a reference.
        q: (nr,) of the image's patient, by the primary method, else NaN.
        probability: (nr,) P(used) at even odds, NaN where images of one kind are not known.
        probability_low, probability_high: (nr,) the same at the lowest and at the highest prior.
        role: of each image.
        decision: of each image, None of methods that are not primary.
        patients: what the primary method says of patients; None of the others.
        whole: what it says of all unlabelled patients together, None where nothing can be said.
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
    probability_low: Values
    probability_high: Values
    role: list[Role]
    decision: list[Decision | None]
    patients: PatientPredictions | None
    whole: SetTest | None
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
    known = _evidence(method, case, given, terms, answer)
    value, own, p = answer.value.copy(), np.full(len(case.real), answer.threshold), known.image.copy()
    for part in parts:
        value[part], own[part], p[part] = _without(method, case, part, given, terms, (answer, known))
    apart = [] if given else list(zip(parts, _apart(method, case, value, parts), strict=True))
    threshold, calibrated, source = _thresholds(method, case, value, own, apart, model)
    chances, curve = _probabilities(case, value, apart, terms, given)
    primary = method.name == terms.primary
    patients = decisions_of_patients(case, known, value, terms.fdr) if primary else None
    q, decision = decisions_of_images(case, patients)
    return Prediction(
        method=method.name,
        value=value,
        threshold=threshold,
        p=p,
        q=q,
        probability=chances[0],
        probability_low=chances[1],
        probability_high=chances[2],
        role=_roles(case, given),
        decision=decision,
        patients=patients,
        whole=_whole(method, case, given, answer) if primary else None,
        calibrated=answer.calibrated or calibrated,
        note=f"{answer.note} {source}{UNTOLD if given and given.seen is None else ''}".strip(),
        facts=_facts(case, method, known, patients, terms, curve),
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


def _evidence(method: Method, case: Case, given: Model | None, terms: PredictionSettings, answer: Answer) -> Evidence:
    """p-values where there is a reference and the method does not learn from it by heart; NaN elsewhere."""
    looks = _looks(method, given)
    learns = method.needs is Needs.LABELS and given is None
    if not learns and len(np.unique(case.groups[case.reference])) > 1:
        if not looks:
            return evidence(case, lambda part: answer.value, looks)
        return evidence(case, lambda part: applied(method, part, given or method.fit(part), terms.draws).value, looks)
    if method.needs is Needs.REFERENCE and (given is None or len(case.reference)):
        few = f"{method.name}: too few groups (patients) among the images known not to be used"
        raise MembershipError(f"{few}; name more with --unused DIR, of several patients")
    return evidence(case.forgetting(case.labelled), lambda part: answer.value, looks=False)  # without a reference: NaN


def _looks(method: Method, given: Model | None) -> bool:
    """Whether the labels of a case have a part in the values."""
    return method.looks and (given is None or method.needs is Needs.REFERENCE)


def _without(
    method: Method,
    case: Case,
    part: Rows,
    given: Model | None,
    terms: PredictionSettings,
    known: tuple[Answer, Evidence],
) -> tuple[Values, NDArray[np.float64], Values]:
    """Value, threshold and p-value of these labelled images, predicted without their labels; `known` is that with all."""
    answer, found = known
    others = case.forgetting(part)
    if method.needs is Needs.REFERENCE or _looks(method, given):
        answer = applied(method, others, given or method.fit(others), terms.draws)
    if _looks(method, given):
        found = _evidence(method, others, given, terms, answer)
    return answer.value[part], np.full(len(part), answer.threshold), found.image[part]


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
) -> tuple[list[Values], Probability | None]:
    """(nr,) P(used) at even odds, at the lowest and at the highest prior, and the curve for unlabelled images."""
    priors = (EVEN, *terms.priors)
    if given:
        facts = given.facts.get("probability")
        curve = Probability(**facts) if facts else None
    else:
        curve = probability(value, case.used, EVEN)
    if curve is None:
        return [np.full(len(value), np.nan)] * len(priors), None
    found = [curve.of(value, prior) for prior in priors]
    for part, values in [] if given else apart:
        without = probability(values, case.forgetting(part).used, EVEN)
        for chances, prior in zip(found, priors, strict=True):
            chances[part] = without.of(value[part], prior) if without else np.nan
    return found, curve


def _whole(method: Method, case: Case, given: Model | None, answer: Answer) -> SetTest | None:
    """The test of all unlabelled patients together, where all images are scored alike; it knows no weights."""
    if _looks(method, given) or not len(case.reference) or case.weights is not None:
        return None
    used = np.isin(case.groups, case.groups[case.used == USED])
    found = set_test(answer.value, case.groups, case.unlabelled[~used[case.unlabelled]], case.reference, case.seed)
    return found if np.isfinite(found.p_value) else None


def _roles(case: Case, given: Model | None) -> list[Role]:
    seen = given.seen if given else frozenset[str]()
    if seen is None:
        return [Role.PERHAPS_SEEN] * len(case.real)
    digests = [one.hex() for one in contents(case.real, np.arange(len(case.real)))] if seen else [""] * len(case.real)
    known = [
        Role.SIBLING if sibling else Role.UNLABELLED if used == UNKNOWN else Role.CROSS_FITTED
        for used, sibling in zip(case.used, case.held_back, strict=True)
    ]
    return [Role.SEEN if digest in seen else role for digest, role in zip(digests, known, strict=True)]


def _facts(
    case: Case,
    method: Method,
    known: Evidence,
    patients: PatientPredictions | None,
    terms: PredictionSettings,
    curve: Probability | None,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "needs": str(method.needs),
        "primary": method.name == terms.primary,
        "used": int((case.used == USED).sum()),
        "not_used": int((case.used == NOT_USED).sum()),
        "generated": len(case.generated),
        "priors": list(terms.priors) if curve else None,
        "fdr": terms.fdr,
    }
    if np.isfinite(known.image).any():
        reference, tests = case.reference_patients, int(np.isfinite(known.unlabelled).sum())
        if patients:
            tests = patients.role.count(Role.UNLABELLED)
        least = least_rejected(reference, tests, terms.fdr)
        found |= {"reference": len(case.reference), "reference_patients": reference, "tests": tests}
        found |= {"smallest_p": smallest_p(reference), "least_rejected": least}
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
