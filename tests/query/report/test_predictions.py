"""What methods said, as text, and methods that nobody asked for."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from query.membership.case import NOT_USED, UNKNOWN, USED, Case, MembershipError
from query.membership.cross_fit import PredictionSettings
from query.membership.decisions import Decision
from query.membership.methods.registry import make_method
from query.membership.predict import PredictionRequest, Predictions, predict, predict_where_able
from query.report.text.predictions import answer_lines, predictions_lines, predictions_text
from tests.helpers.cases import planted


@pytest.fixture(scope="module")
def labelled() -> Case:
    """30 used and 30 unused images, all labelled."""
    case, used = planted()
    return replace(case, used=np.where(used, USED, NOT_USED).astype(np.int8), memory={})


def by(case: Case, *names: str, **terms: object) -> Predictions:
    return predict(case, [make_method(name) for name in names], PredictionSettings(**terms))  # type: ignore[arg-type]


def text_of(decided: Predictions) -> str:
    return " ".join(" ".join(predictions_lines(decided, "")).split())


def test_where_all_images_are_labelled_they_are_told_of(labelled: Case) -> None:
    decided = by(labelled, "fusion", "phash")
    fusion, phash = decided.methods
    text = text_of(decided)
    called = [str(decision) for decision in fusion.decision]
    assert f"Of 60 labelled images, each predicted without its label: {called.count('used')} used" in text
    assert f"binary prediction: {fusion.used.count(True)} used." in text
    assert f"phash {phash.used.count(True)} {phash.used.count(False)}" in text
    assert "0 unlabelled real images, 60 labelled (30 used, 30 not used)" in text


def test_how_many_must_stand_out_together_is_what_the_procedure_demands(labelled: Case) -> None:
    decided = by(labelled, "fusion", fdr=0.07)
    (words,) = [line for line in predictions_lines(decided, "") if "together" in line]
    least = int(words.split("unless ")[1].split(" of")[0])
    assert decided.methods[0].patients is not None
    smallest = np.nanmin(decided.methods[0].patients.p)
    for count, rejected in ((least, True), (least - 1, False)):
        p = np.ones(len(decided.methods[0].patients.p))
        p[:count] = smallest
        assert (false_discovery_control(p)[0] <= 0.07) == rejected


def test_labelled_images_are_not_told_of_beside_questioned_ones(labelled: Case) -> None:
    used = labelled.used.copy()
    used[:10] = UNKNOWN
    text = text_of(by(replace(labelled, used=used), "fusion"))
    assert "Of 10 unlabelled images:" in text
    assert "10 unlabelled real images, 50 labelled" in text


def test_as_many_images_called_used_are_listed_as_wanted(labelled: Case) -> None:
    used = np.where(labelled.used == USED, UNKNOWN, NOT_USED).astype(np.int8)
    decided = by(replace(labelled, used=used), "fusion", fdr=0.2)
    assert decided.methods[0].patients is not None
    called = decided.methods[0].patients.asked.count(Decision.USED)
    answered = sum(decision in (Decision.USED, Decision.PATIENT_USED) for decision in decided.methods[0].decision)
    assert called > 4
    assert answered > called
    lines = [line for line in predictions_lines(decided, "", shown=4) if "real_" in line or "more, in table" in line]
    patients, images = lines[:5], lines[5:]
    assert (len(patients), len(images)) == (5, 5)
    assert f"and {called - 4} more, in table patient_decisions" in patients[-1]
    assert f"and {answered - 4} more, in table decisions" in images[-1]
    nearest = max(range(len(decided.names)), key=lambda row: decided.methods[0].value[row])
    assert decided.names[nearest] in images[0]
    assert decided.names[nearest] in patients[0]


@pytest.mark.parametrize("named", [True, False])
def test_the_set_and_patients_are_the_first_sentences(labelled: Case, named: bool) -> None:
    """They are called patients only where somebody said which images are of one."""
    used = np.where(labelled.used == USED, UNKNOWN, NOT_USED).astype(np.int8)
    patients = {row: f"patient {group}" for row, group in enumerate(labelled.groups)} if named else {}
    decided = by(replace(labelled, used=used), "fusion").with_known({}, patients)
    first, more, second, _, *others = answer_lines(decided)
    found = decided.methods[0].whole
    assert found is not None
    who = "patient" if named else "group"
    assert first.startswith(f"With 95% confidence at least {found.used_low} of {found.patients} unlabelled {who}s")
    assert f"p = {found.p_value:.2g}, against {found.reference} reference {who}s" in more
    assert decided.methods[0].patients is not None
    called = decided.methods[0].patients.asked.count(Decision.USED)
    assert second.startswith(f"{called or 'None'} of {found.patients} unlabelled {who}s")
    assert bool(others) is not named  # that patients are unknown


def test_p_of_used_is_a_range_over_the_stated_priors(labelled: Case) -> None:
    used = labelled.used.copy()
    used[:10] = UNKNOWN  # used ones
    decided = by(replace(labelled, used=used), "fusion", fdr=0.9, priors=(0.2, 0.6))
    text, found = text_of(decided), decided.methods[0]
    assert "P(used) is a range, for a share of used images of 20% to 60% beforehand (--prior)." in text
    row = int(np.nanargmax(found.value[:10]))
    assert f"{found.probability_low[row]:.2f} to {found.probability_high[row]:.2f}" in text
    assert f"{found.probability[row]:.3g}" not in text
    image = decided.as_dict()["methods"]["fusion"]["images"][row]
    assert (image["probability_low"], image["probability_high"]) == (found.probability_low[row], found.probability_high[row])
    assert "probability" not in image


def test_one_that_cannot_judge_is_left_out_and_the_next_is_primary(labelled: Case) -> None:
    used = np.full(60, UNKNOWN, np.int8)
    used[-4:] = NOT_USED  # no used ones, which fusion-learned needs
    case, terms = replace(labelled, used=used), PredictionSettings(primary="fusion-learned")
    methods = [make_method(name) for name in ("fusion-learned", "phash", "hubness")]
    with pytest.raises(MembershipError, match="fusion-learned learns from"):
        predict(case, methods, terms)
    found = predict_where_able(case, methods, terms)
    assert [(each.method, each.facts["primary"]) for each in found.methods] == [("phash", True), ("hubness", False)]
    (line,) = found.refused
    assert f"Left out: {line}." in predictions_text(found, "").replace("\n    ", " ")
    alone = predict_where_able(case, methods[:1], terms)
    assert "No method can predict" in text_of(alone)
    assert alone.as_dict() == {"methods": {}, "refused": [line], "reference": None}


def test_the_primary_method_is_named_by_the_caller_or_is_fusion_or_the_first() -> None:
    methods = [make_method(name) for name in ("phash", "fusion", "hubness")]
    assert PredictionRequest().terms(methods).primary == "fusion"
    assert PredictionRequest().terms(methods[::2]).primary == "phash"
    assert PredictionRequest(primary="hubness").terms(methods).primary == "hubness"
    with pytest.raises(MembershipError, match=r"does not predict \(phash, hubness\)"):
        PredictionRequest(primary="fusion").terms(methods[::2])
