"""Decisions on patients by hand, what they say of images, and who is asked for at all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from query.inputs.sides import Sides
from query.membership.calibration import Evidence, q_values
from query.membership.case import NOT_USED, UNKNOWN, USED, Case
from query.membership.cross_fit import PredictionSettings, cross_fit
from query.membership.decisions import Decision, Role, decisions_of_images, decisions_of_patients
from query.membership.methods.fusion import Fusion
from query.membership.patients import Patients
from query.membership.predict import Siblings, case_of
from tests.helpers.cases import images_of, planted

NAN = float("nan")
# Patients: a and b of the set (3 and 1 images), c with a used and an unlabelled image, d of the reference, e of both, f used.
GROUPS = np.array(["a", "a", "a", "b", "c", "c", "d", "d", "e", "e", "f"])
USED_OF = np.array([-1, -1, -1, -1, 1, -1, 0, 0, 0, -1, 1], np.int8)
VALUE = np.array([1.0, 7, 3, 2, 5, 9, 0, NAN, 4, 6, 8])


def case_like(groups: Sequence[object], used: NDArray[np.int8]) -> Case:
    """The pictures do not matter."""
    case, _ = planted(0, used=0, unused=len(groups), each=1, others=2, views=["resnet"])
    return replace(case, groups=np.array(groups), used=used)


def evidence_of(
    groups: Sequence[object], unlabelled: Mapping[Any, float], labelled: Mapping[Any, float] | None = None
) -> Evidence:
    """Of each patient these p-values, NaN of all others."""
    patients = Patients.of(np.array(groups))
    image = np.full(len(groups), NAN)
    own = [np.array([given.get(name, NAN) for name in patients.names.tolist()]) for given in (unlabelled, labelled or {})]
    return Evidence(image, patients, *own)


SMALL = case_like(GROUPS.tolist(), USED_OF)
KNOWN = evidence_of(GROUPS.tolist(), {"a": 0.02, "b": 0.6, "c": 0.01, "e": 0.5}, {"c": 0.03, "d": 0.9, "e": 0.7, "f": 0.04})


def test_patients_by_hand() -> None:
    found = decisions_of_patients(SMALL, KNOWN, VALUE, 0.5)
    # c is known to be used: its unlabelled image is no question, and no test among a, b and e
    assert GROUPS[found.rows].tolist() == ["a", "b", "e", "c", "d", "e", "f"]
    assert found.role == [Role.UNLABELLED] * 3 + [Role.CROSS_FITTED] * 4
    assert np.allclose(found.p, [0.02, 0.6, 0.5, 0.03, 0.9, 0.7, 0.04])
    assert np.allclose(found.q, [*q_values([0.02, 0.6, 0.5]), *q_values([0.03, 0.9, 0.7, 0.04])])
    assert found.rows.tolist() == [1, 3, 9, 4, 6, 8, 10]  # the nearest image of each, of those that were tested
    assert found.images.tolist() == [3, 1, 1, 1, 1, 1, 1]  # one of d has no value
    used = [GROUPS[row] for row, decision in zip(found.rows, found.decision, strict=True) if decision is Decision.USED]
    assert used == ["a", "c", "f"]


def test_images_by_hand() -> None:
    patients = decisions_of_patients(SMALL, KNOWN, VALUE, 0.5)
    q, decision = decisions_of_images(SMALL, patients)
    assert decision[:3] == [Decision.PATIENT_USED] * 3  # which of the three is not said
    assert decision[3] is Decision.NO_TRACE
    assert decision[4] is Decision.USED  # of the labelled images of c the only one
    assert decision[5] is Decision.UNDECIDED  # of c, who is no question
    assert decision[6:9] == [Decision.NO_TRACE] * 3
    assert decision[10] is Decision.USED
    assert np.allclose(q, [*[patients.q[0]] * 3, patients.q[1], patients.q[3], NAN, *[patients.q[4]] * 2, *patients.q[[5, 2, 6]]],
                       equal_nan=True)  # fmt: skip


def test_no_primary_method_decides_nothing() -> None:
    q, decision = decisions_of_images(SMALL, None)
    assert np.isnan(q).all()
    assert set(decision) == {None}


def test_no_answer_clears_anybody() -> None:
    """A patient who lies as far as can be has no other answer than one barely farther than the reference."""
    assert {str(each) for each in Decision} == {"used", "patient used", "no trace found", "undecided"}
    groups = list(range(60))
    case = case_like(groups, np.where(np.arange(60) < 40, NOT_USED, UNKNOWN).astype(np.int8))
    p = dict.fromkeys(groups[40:], 1.0) | {40: 0.001, 41: 0.4}
    found = decisions_of_patients(case, evidence_of(groups, p), np.zeros(60), 0.1)
    assert found.decision == [Decision.USED] + [Decision.NO_TRACE] * 19
    assert found.asked == found.decision


@pytest.mark.parametrize(("kept", "rest"), [(8, Decision.UNDECIDED), (9, Decision.NO_TRACE)])
def test_too_small_a_reference_leaves_everybody_undecided(kept: int, rest: Decision) -> None:
    """With 8 patients even all 12 together at the smallest p, 1 / 9, have q above 0.1; with 9 they have not."""
    groups = list(range(kept + 12))
    case = case_like(groups, np.where(np.arange(kept + 12) < kept, NOT_USED, UNKNOWN).astype(np.int8))
    least = 1 / (kept + 1)
    all_least = decisions_of_patients(case, evidence_of(groups, dict.fromkeys(groups[kept:], least)), np.zeros(kept + 12), 0.1)
    assert set(all_least.decision) == {Decision.USED if rest is Decision.NO_TRACE else rest}
    one = dict.fromkeys(groups[kept:], 0.9) | {kept: least}
    found = decisions_of_patients(case, evidence_of(groups, one, dict.fromkeys(groups[:kept], 0.8)), np.zeros(kept + 12), 0.1)
    assert set(found.decision[:12]) == {rest}
    assert found.role[12:] == [Role.CROSS_FITTED] * kept


def test_patients_without_p_value_are_no_tests() -> None:
    groups = list(range(40))
    case = case_like(groups, np.where(np.arange(40) < 30, NOT_USED, UNKNOWN).astype(np.int8))
    found = decisions_of_patients(case, evidence_of(groups, {30: 0.04, 33: 0.5}), np.zeros(40), 0.1)
    assert found.rows.tolist() == [30, 33]
    assert np.allclose(found.q, [0.08, 0.5])
    decision = decisions_of_images(case, found)[1]
    assert decision[30] is Decision.USED
    assert {each for row, each in enumerate(decision) if row not in (30, 33)} == {Decision.UNDECIDED}


# Siblings


def sibling_sides() -> tuple[Sides, dict[int, bool], NDArray[np.int64]]:
    """Ten used patients of four images, of which two are known to be used and one not to be; thirty who were not."""
    case, _ = planted(1, used=0, unused=100, each=1, others=60, views=["pixels", "resnet"])
    groups = np.concatenate([np.repeat(np.arange(10), 4), 10 + np.repeat(np.arange(30), 2)])
    made = {
        view: np.concatenate([case.generated.vectors[view], vectors[:40][np.arange(40) % 4 < 2]])
        for view, vectors in case.real.vectors.items()
    }
    labels = {row: row % 4 < 2 for row in range(40) if row % 4 < 3} | dict.fromkeys(range(40, 100), False)
    return Sides(case.real, images_of(made, "generated")), labels, groups


def test_siblings_of_used_images_are_held_back() -> None:
    sides, labels, groups = sibling_sides()
    case = case_of(sides, labels, groups)
    held = np.array([row < 40 and row % 4 == 2 for row in range(100)])
    assert np.array_equal(case.held_back, held)
    assert (case.used[held] == UNKNOWN).all()
    assert np.array_equal(case.reference, np.arange(40, 100))
    assert np.array_equal(case.unlabelled, np.arange(3, 40, 4))  # siblings are not asked for either
    kinds = {True: USED, False: NOT_USED, None: UNKNOWN}
    assert case.used[~held].tolist() == [kinds[labels.get(row)] for row in np.flatnonzero(~held).tolist()]
    assert case.reference_patients == 30


def test_siblings_may_be_reference() -> None:
    sides, labels, groups = sibling_sides()
    case = case_of(sides, labels, groups, siblings=Siblings.REFERENCE)
    assert case.siblings is None
    assert len(case.reference) == 70
    assert case.reference_patients == 40
    assert case_of(sides, {50: False}, groups).siblings is None  # nobody is held back


def test_siblings_are_predicted_apart() -> None:
    sides, labels, groups = sibling_sides()
    case = case_of(sides, labels, groups)
    found = cross_fit(Fusion(), case, PredictionSettings(fdr=0.2, folds=3))
    held = case.held_back
    assert {found.role[row] for row in np.flatnonzero(held)} == {Role.SIBLING}
    assert np.isfinite([found.value[held], found.p[held]]).all()
    assert {found.decision[row] for row in np.flatnonzero(held)} == {Decision.UNDECIDED}
    assert found.patients is not None
    assert found.patients.asked == []  # all unlabelled images are of patients known to be used
    assert found.whole is None
    used = [groups[row] for row, each in zip(found.patients.rows, found.patients.decision, strict=True) if each is Decision.USED]
    assert set(range(10)) <= set(used)
    assert len(used) <= 14
    assert {found.decision[row] for row in np.flatnonzero(case.used == USED)} == {Decision.PATIENT_USED}


def test_a_sibling_counts_for_nobodys_evidence() -> None:
    """Whatever its value: p-values of others stay, where as reference it would change them."""
    sides, labels, groups = sibling_sides()
    changed = dict(labels) | dict.fromkeys(range(2, 40, 4), False)
    without = {row: label for row, label in changed.items() if not (row < 40 and row % 4 == 2)}
    asked = [{row: label for row, label in each.items() if row < 80} for each in (changed, without)]  # 80 to 99 are the set
    held, forgotten = (cross_fit(Fusion(), case_of(sides, each, groups), PredictionSettings(folds=3)) for each in asked)
    reference = cross_fit(Fusion(), case_of(sides, asked[0], groups, siblings=Siblings.REFERENCE), PredictionSettings(folds=3))
    assert np.array_equal(held.p[80:], forgotten.p[80:])
    assert held.whole == forgotten.whole
    assert not np.array_equal(held.p[80:], reference.p[80:])
