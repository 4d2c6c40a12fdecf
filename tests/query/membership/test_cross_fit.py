"""A method judges a case: nobody is judged by his own label, and what is said of him stands on what it claims."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from query.comparison.all_pairs import Wanted, all_pairs_of
from query.evaluation.resampling import auroc
from query.membership import proximity
from query.membership.calibration import Probability, probability, q_values, wrong_threshold
from query.membership.case import NOT_USED, UNKNOWN, USED, Case, MembershipError, Method, Needs
from query.membership.cross_fit import WRONG, Prediction, PredictionSettings, applied, cross_fit
from query.membership.decisions import Decision, Role
from query.membership.features import contents
from query.membership.methods.density_ratio import Reference
from query.membership.methods.fusion import Fusion, LearnedFusion
from query.membership.methods.hubness import Hubness
from query.membership.methods.phash import PHashThreshold
from query.membership.methods.self_threshold import SelfThreshold
from query.membership.patients import image_p_values, patient_p_values
from query.membership.proximity import Nearness, planned
from query.membership.set_test import set_test
from tests.helpers.cases import VIEWS, images_of, planted, shuffled, told, views_of_case

ALL: dict[str, Method] = {
    "fusion": Fusion(),
    "fusion-learned": LearnedFusion(penalties=(0.1, 1.0), parts=3),
    "reference": Reference(k=2),
    "hubness": Hubness(k=2),
    "self-threshold": SelfThreshold(),
    "phash": PHashThreshold(),
    "phash-calibrated": PHashThreshold(bits=None),
}
each_method = pytest.mark.parametrize("method", list(ALL.values()), ids=list(ALL))
HARD, HARD_TRUTH = planted(2, used=24, unused=24, each=1, noise=1.3)  # copies so poor that methods err
WITHOUT, TRUTH = planted(1, used=40, unused=60, each=6)
UNLABELLED = np.arange(60, 100)
KNOWN = told(WITHOUT, TRUTH, np.arange(60))
REFERENCE_ONLY = told(WITHOUT, TRUTH, np.flatnonzero(~TRUTH)[:40])
ASKED = REFERENCE_ONLY.used == UNKNOWN
QUICK_TERMS = PredictionSettings(folds=3)


def judged(method: Method, case: Case, terms: PredictionSettings = QUICK_TERMS) -> Prediction:
    return cross_fit(method, case, terms)


def answered(case: Case) -> NDArray[np.float64]:
    """What fusion says of each image."""
    return Fusion().answer(case, Fusion().fit(case)).value


def flipped_labels(case: Case, row: int) -> tuple[Case, NDArray[np.bool_]]:
    """The case in which the group of a row has the other label, and which rows that are."""
    own = (case.groups == case.groups[row]) & (case.used != UNKNOWN)
    used = case.used.copy()
    used[own] = USED + NOT_USED - used[own]
    return replace(case, used=used), own


# Nobody is judged by his own label


@each_method
def test_the_own_label_changes_nothing(method: Method) -> None:
    case = told(HARD, HARD_TRUTH, np.arange(40))
    before = judged(method, case)
    changed = 0
    for row in (0, 5, 17, 38):
        other, own = flipped_labels(case, row)
        assert 0 < own.sum() < 3
        after = judged(method, other)
        for name in ("value", "p", "threshold", *([] if method.needs is Needs.LABELS else ["probability"])):
            first, second = getattr(before, name), getattr(after, name)
            assert np.array_equal(first[own], second[own], equal_nan=True), (row, name)
            changed += not np.array_equal(first, second, equal_nan=True)
    assert changed or method.needs is Needs.NOTHING  # others may be judged by it


@each_method
def test_with_a_given_model_neither(method: Method) -> None:
    case = told(HARD, HARD_TRUTH, np.arange(40))
    model = judged(method, case).model
    other, _ = planted(3, used=24, unused=24, each=1, noise=1.3)
    other = told(other, HARD_TRUTH, np.arange(40))
    before = cross_fit(method, other, QUICK_TERMS, model)
    assert {before.role[row] for row in range(40)} == {Role.CROSS_FITTED}
    for row in (0, 17):
        changed, own = flipped_labels(other, row)
        after = cross_fit(method, changed, QUICK_TERMS, model)
        for name in ("value", "p", "threshold", "probability"):
            assert np.array_equal(getattr(before, name)[own], getattr(after, name)[own], equal_nan=True), (row, name)


@each_method
def test_labels_count_where_they_may(method: Method) -> None:
    """Labelled images are as well told apart as unlabelled ones, and no better than they deserve."""
    found = judged(method, KNOWN)
    known = np.setdiff1d(np.arange(100), UNLABELLED)
    assert auroc(found.value[UNLABELLED], TRUTH[UNLABELLED]) > 0.95
    assert auroc(found.value[known], TRUTH[known]) > 0.95
    assert found.role == [Role.CROSS_FITTED] * 60 + [Role.UNLABELLED] * 40
    note = np.array(found.used)[UNLABELLED] == TRUTH[UNLABELLED]
    assert note.mean() > (0.85 if found.calibrated else 0.5)


@pytest.mark.parametrize("name", ["fusion", "fusion-learned"])
def test_random_labels_are_not_learned_by_heart(name: str) -> None:
    """With cross-fitting labels that mean nothing are not found again."""
    areas = []
    for seed in range(8):
        case, _ = planted(seed, used=0, unused=60, each=1, others=60)
        truth = np.random.default_rng(seed).permutation(60) < 30
        areas.append(auroc(judged(ALL[name], told(replace(case, groups=np.arange(60)), truth)).value, truth))
    assert abs(np.mean(areas) - 0.5) < 4 * np.std(areas, ddof=1) / np.sqrt(len(areas))


@each_method
def test_order_does_not_matter(method: Method) -> None:
    case = told(HARD, HARD_TRUTH, np.arange(40))
    terms = PredictionSettings(primary=method.name, folds=3)
    before = judged(method, case, terms)
    other, rows = shuffled(replace(case, memory={}), 5)
    after = judged(method, other, terms)
    for name in ("value", "threshold", "p", "q", "probability"):
        assert np.allclose(getattr(after, name), getattr(before, name)[rows], atol=1e-5, equal_nan=True), name
    assert after.used == [before.used[row] for row in rows]
    assert after.decision == [before.decision[row] for row in rows]
    assert after.model.seen == before.model.seen


# Evidence


def test_questioned_images_are_held_against_the_whole_reference() -> None:
    found = judged(Fusion(), REFERENCE_ONLY)
    value = answered(REFERENCE_ONLY)
    expected = image_p_values(value, REFERENCE_ONLY.groups, REFERENCE_ONLY.reference)
    assert np.array_equal(found.p[ASKED], expected[ASKED])
    assert found.p.min() == pytest.approx(1 / 41)
    facts = {"reference": 40, "reference_patients": 21, "tests": 32, "used": 0, "not_used": 40}
    assert {name: found.facts[name] for name in facts} == facts
    assert found.facts["smallest_p"] == 1 / 22
    assert found.facts["least_rejected"] == 15  # 32 / 15 / 22 < 0.1 < 32 / 14 / 22


def test_a_reference_image_is_held_against_those_of_other_patients() -> None:
    found = judged(Fusion(), REFERENCE_ONLY)
    own = found.p[~ASKED]
    assert own.min() >= 1 / 39 - 1e-9
    assert 0.3 < own.mean() < 0.7


def test_patients_are_held_against_the_patients_of_the_reference() -> None:
    found = judged(Fusion(), REFERENCE_ONLY).patients
    assert found is not None
    asked = np.array(found.role) == Role.UNLABELLED
    value, groups, rows = answered(REFERENCE_ONLY), REFERENCE_ONLY.groups, np.flatnonzero(ASKED)
    patients, p = patient_p_values(value, groups, rows, REFERENCE_ONLY.reference, REFERENCE_ONLY.seed)
    assert np.array_equal(found.p[asked], p[np.isfinite(p)])
    assert np.array_equal(groups[found.rows[asked]], patients.names[np.isfinite(p)])
    assert found.p.min() == pytest.approx(1 / 22)
    assert asked.sum() == 32
    assert (~asked).sum() == 21


def test_the_set_is_tested_by_its_unlabelled_patients() -> None:
    found, groups, rows = judged(Fusion(), REFERENCE_ONLY).whole, REFERENCE_ONLY.groups, np.flatnonzero(ASKED)
    assert found == set_test(answered(REFERENCE_ONLY), groups, rows, REFERENCE_ONLY.reference, REFERENCE_ONLY.seed)
    assert found is not None
    assert (found.patients, found.reference) == (31, 21)  # one patient is on both sides
    assert found.p_value < 0.01
    assert 0.3 < found.share_low <= len(np.unique(groups[ASKED & TRUTH])) / 31
    with_both = judged(Fusion(), KNOWN).whole
    assert with_both is not None
    assert with_both.patients == len(np.setdiff1d(KNOWN.groups[UNLABELLED], KNOWN.groups[KNOWN.labelled]))
    assert (
        judged(Reference(k=2), REFERENCE_ONLY, PredictionSettings(primary="reference", folds=3)).whole is None
    )  # looks at labels
    exploratory = judged(Fusion(), REFERENCE_ONLY, PredictionSettings(primary="phash", folds=3))
    assert (exploratory.whole, exploratory.patients) == (None, None)


def test_questioned_and_labelled_patients_are_families_of_their_own() -> None:
    found = judged(Fusion(), KNOWN)
    assert found.patients is not None
    for role in (Role.UNLABELLED, Role.CROSS_FITTED):
        rows = np.array(found.patients.role) == role
        assert rows.any()
        assert np.array_equal(found.patients.q[rows], q_values(found.patients.p[rows]))
    assert not np.array_equal(found.patients.q, q_values(found.patients.p))
    keys = zip(found.patients.role, KNOWN.groups[found.patients.rows].tolist(), strict=True)
    q_of = dict(zip(keys, found.patients.q.tolist(), strict=True))
    expected = [q_of.get((role, group), np.nan) for role, group in zip(found.role, KNOWN.groups.tolist(), strict=True)]
    assert np.array_equal(found.q, expected, equal_nan=True)
    assert np.isnan(judged(Reference(k=2), KNOWN).q).all()  # exploratory
    assert judged(Reference(k=2), KNOWN).decision == [None] * 100


def test_three_answers() -> None:
    terms = PredictionSettings(fdr=0.25, folds=3)  # 15 reference patients cannot reject few at 0.1
    with_both, with_reference = (judged(Fusion(), case, terms) for case in (KNOWN, REFERENCE_ONLY))
    hard = judged(Fusion(), told(HARD, HARD_TRUTH, np.arange(40)), terms)
    assert ((hard.probability > 0.1) & (hard.probability < 0.9)).any()
    for found, case in ((with_both, KNOWN), (with_reference, REFERENCE_ONLY), (hard, told(HARD, HARD_TRUTH, np.arange(40)))):
        for row, (decision, q, role) in enumerate(zip(found.decision, found.q, found.role, strict=True)):
            several = (
                sum(other == role for other, group in zip(found.role, case.groups, strict=True) if group == case.groups[row]) > 1
            )
            called = Decision.PATIENT_USED if several else Decision.USED
            assert decision is (Decision.UNDECIDED if np.isnan(q) else called if q <= 0.25 else Decision.NO_TRACE)
    positive = np.array([each in (Decision.USED, Decision.PATIENT_USED) for each in with_both.decision])[UNLABELLED]
    assert positive[TRUTH[UNLABELLED]].mean() > 0.8
    assert positive[~TRUTH[UNLABELLED]].mean() < 0.5
    # without used ones there is no probability
    assert np.isnan([with_reference.probability, with_reference.probability_low, with_reference.probability_high]).all()
    assert with_reference.facts["priors"] is None


@pytest.mark.parametrize("name", ["phash", "self-threshold"])
def test_without_a_reference_there_is_no_evidence(name: str) -> None:
    found = judged(ALL[name], WITHOUT, PredictionSettings(primary=name))
    assert np.isnan([found.p, found.q, found.probability]).all()
    assert set(found.decision) == {Decision.UNDECIDED}
    assert "reference" not in found.facts
    assert not found.calibrated


def test_probability_stands_on_cross_fitted_values_and_the_priors() -> None:
    found = judged(Fusion(), KNOWN, PredictionSettings(priors=(0.1, 0.7), folds=3))
    at = {0.5: found.probability, 0.1: found.probability_low, 0.7: found.probability_high}
    for prior, chances in at.items():
        curve = probability(found.value, KNOWN.used, 0.5)
        assert curve is not None
        odds = curve.of(found.value[UNLABELLED]) / (1 - curve.of(found.value[UNLABELLED])) * prior / (1 - prior)  # Bayes
        np.testing.assert_allclose(chances[UNLABELLED], odds / (1 + odds), rtol=1e-6)
    assert (found.probability_low < found.probability).all()
    assert (found.probability < found.probability_high).all()
    assert found.facts["priors"] == [0.1, 0.7]
    assert (np.diff(found.probability[UNLABELLED][np.argsort(found.value[UNLABELLED])]) >= 0).all()


def test_false_discoveries_stay_at_the_level() -> None:
    fusion = Fusion({(view, Nearness.D1): 1.0 for view in VIEWS})
    shares, found = [], []
    for seed in range(40):
        case, truth = planted(seed, used=15, unused=125, each=1, others=60, noise=0.8, groups=1)
        reference = np.flatnonzero(~truth)[:80]
        note = np.array(judged(fusion, told(case, truth, reference), PredictionSettings(folds=3)).decision) == Decision.USED
        note[reference] = False
        shares.append((note & ~truth).sum() / max(1, note.sum()))
        found.append(note[truth].mean())
    assert np.mean(shares) <= 0.1 + 2 * np.std(shares, ddof=1) / np.sqrt(len(shares))
    assert np.mean(found) > 0.5


# Thresholds


@pytest.mark.parametrize("name", ["fusion", "reference", "hubness"])
def test_a_forced_yes_hits_few_of_the_reference(name: str) -> None:
    found = judged(ALL[name], REFERENCE_ONLY)
    assert found.calibrated
    assert found.threshold[ASKED][0] == wrong_threshold(found.value, REFERENCE_ONLY.used, WRONG)
    assert np.mean(found.value[~ASKED] >= found.threshold[ASKED][0]) <= WRONG
    assert found.note.endswith("at most 10% of the images known not to be used reach.")


# Models


@each_method
def test_a_model_judges_as_it_did(method: Method) -> None:
    """Before the same generated images a model needs no labels for a threshold and for P(used)."""
    found = judged(method, KNOWN)
    json.dumps([dict(found.facts), dict(found.detail), dict(found.model.facts)])
    unlabelled = replace(KNOWN.forgetting(np.flatnonzero(TRUTH)), memory={})  # what is a reference remains
    again = cross_fit(method, unlabelled, QUICK_TERMS, found.model)
    assert np.allclose(again.value[UNLABELLED], found.value[UNLABELLED])
    assert np.array_equal(again.threshold[UNLABELLED], found.threshold[UNLABELLED])
    assert np.allclose(again.probability[UNLABELLED], found.probability[UNLABELLED])
    assert np.array_equal(
        again.p[UNLABELLED], cross_fit(method, unlabelled, QUICK_TERMS, found.model).p[UNLABELLED], equal_nan=True
    )


@each_method
def test_a_model_remembers_whose_labels_it_saw(method: Method) -> None:
    model = judged(method, KNOWN).model
    rng = np.random.default_rng(0)
    rows = rng.permutation(100)  # the same pictures elsewhere, under other names
    case = replace(KNOWN, real=replace(KNOWN.real.take(rows), names=KNOWN.real.names), groups=KNOWN.groups[rows], memory={})
    used = np.where(TRUTH[rows], UNKNOWN, NOT_USED).astype(np.int8)
    found = cross_fit(method, replace(case, used=used), QUICK_TERMS, model)
    seen = np.array(found.role) == Role.SEEN
    if method.needs is Needs.NOTHING:
        assert not seen.any()
    else:
        assert np.array_equal(seen, rows < 60)
        assert model.seen == frozenset(one.hex() for one in contents(KNOWN.real, KNOWN.labelled))
        untold = cross_fit(method, replace(case, used=used), QUICK_TERMS, replace(model, seen=None))
        assert set(untold.role) == {Role.PERHAPS_SEEN}
        assert "may have seen these" in untold.note


@pytest.mark.parametrize("name", ["fusion", "fusion-learned", "reference", "hubness", "phash-calibrated"])
def test_a_threshold_is_refused_for_another_number_of_generated_images(name: str) -> None:
    method, here = ALL[name], len(KNOWN.generated)
    model = judged(method, KNOWN).model
    assert model.facts["generated"] == here
    fewer = KNOWN.drawn(np.arange(0, here - 10))
    more = {view: np.concatenate([vectors, vectors]) for view, vectors in KNOWN.generated.vectors.items()}
    doubled = replace(KNOWN, generated=images_of(more, "generated"), memory={})
    for case, draws, mend in ((fewer, 0, "find it anew"), (doubled, 0, "--draws 20"), (fewer, 20, "find it anew")):
        with pytest.raises(MembershipError, match=mend) as caught:
            cross_fit(method, case, PredictionSettings(folds=3, draws=draws), model)
        message = str(caught.value)
        assert f"the threshold of {name} was found with {here} generated images" in message
        assert f"nothing for {len(case.generated)}" in message
        assert "\n" not in message


def test_draws_match_the_number_of_generated_images() -> None:
    """Every image has the same nearest in each draw where every generated one is there often."""
    model = Fusion().fit(KNOWN)
    model = replace(model, facts={"generated": 60, "threshold": 0.5})
    found = cross_fit(Fusion(), KNOWN, PredictionSettings(folds=3, draws=3), model)
    rng = np.random.default_rng(KNOWN.seed)
    draws = [np.sort(rng.choice(len(KNOWN.generated), 60, replace=False)) for _ in range(3)]
    expected = np.mean([Fusion().answer(KNOWN.drawn(rows), model).value for rows in draws], axis=0)
    assert np.allclose(applied(Fusion(), KNOWN, model, 3).value, expected)
    assert np.allclose(found.value[UNLABELLED], expected[UNLABELLED])
    assert (found.threshold == 0.5).all()
    assert "Mean over 3 draws of 60 generated images" in found.note


@pytest.mark.parametrize("name", ["fusion", "reference", "hubness", "phash-calibrated"])
def test_draws_are_measured_in_the_pass_of_all_pairs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then no method compares images again, also without some of the labels, and it says the same."""
    method, case = ALL[name], replace(KNOWN, memory={})
    fitted = method.fit(KNOWN)
    model = replace(fitted, facts={**fitted.facts, "generated": 60})
    without = case.forgetting(case.labelled[:3])
    expected = [applied(method, replace(each, memory={}), model, 3).value for each in (case, without)]
    measures = planned(case, [method], {name: model}, 3)
    all_pairs_of(views_of_case(case), Wanted(3), measures.reductions)
    case.memory.update(measures.results())
    monkeypatch.setattr(proximity, "reduce", None)
    for each, values in zip((case, without), expected, strict=True):
        # float32 products of other shapes: some kernels (AVX2) round them in another order
        np.testing.assert_allclose(applied(method, each, model, 3).value, values, rtol=1e-5, atol=1e-6)


def test_a_curve_of_a_model_is_used_as_it_is() -> None:
    curve = Probability(2.0, -1.0, 0.25)
    facts = {"probability": {"slope": 2.0, "offset": -1.0, "prior": 0.25}, "threshold": 0.1, "generated": len(KNOWN.generated)}
    terms = PredictionSettings(priors=(0.25, 0.9))
    found = cross_fit(Fusion(), REFERENCE_ONLY, terms, replace(Fusion().fit(KNOWN), facts=facts))
    np.testing.assert_allclose(found.probability_low, 1 / (1 + np.exp(1 - 2 * found.value)))
    assert np.array_equal(found.probability_high, curve.of(found.value, 0.9))
    assert np.array_equal(found.probability, curve.of(found.value, 0.5))
    assert found.facts["priors"] == [0.25, 0.9]


# What cannot be


def test_a_view_that_lacks_is_named() -> None:
    views = {view: KNOWN.generated.vectors[view] for view in VIEWS if view != "phash"}
    case = replace(KNOWN, generated=images_of(views, "generated"), memory={})
    with pytest.raises(
        MembershipError, match=r"^phash needs view phash, which the collection lacks; index with --view phash too$"
    ):
        judged(PHashThreshold(), case)


def test_a_reference_of_one_patient_is_none() -> None:
    groups = np.where(KNOWN.used == NOT_USED, -1, KNOWN.groups)
    case = replace(KNOWN, groups=groups, memory={})
    with pytest.raises(MembershipError, match=r"^fusion: too few groups \(patients\) among .* of several patients$"):
        judged(ALL["fusion"], case)
    alone = judged(ALL["phash"], case)  # which needs none
    assert np.isnan(alone.p).all()
    assert np.isfinite(alone.value).any()


def test_few_reference_patients_are_enough() -> None:
    for seed in range(5):
        case, truth = planted(seed, used=20, unused=40, groups=1)
        few = np.flatnonzero(~truth)[:15]
        for known in (few, np.append(few, np.flatnonzero(truth)[:15])):
            found = judged(Fusion(), told(case, truth, known), PredictionSettings())
            assert np.isfinite([found.value, found.p, found.q, found.threshold]).all()


@pytest.mark.parametrize(
    "wrong",
    [{"fdr": 0}, {"fdr": 1}, {"priors": (0, 0.5)}, {"priors": (0.5, 1)}, {"priors": (0.6, 0.4)}, {"folds": 2}, {"draws": -1}],
)
def test_terms_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match="must lie between 0 and 1, the lower prior first, folds be at least 3, draws not negative"
    ):
        PredictionSettings(**wrong)
