"""The reference of a case: refused, weighted or ignored where it is of another kind, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest

from embeddings.types import GreyImage
from query.membership import reference
from query.membership.case import NOT_USED, UNKNOWN, Case, MembershipError
from query.membership.reference import with_checked_reference
from query.membership.reference_check import Feature, Features
from query.membership.reference_verdict import Difference, Mismatch, ReferenceCheck, ReferenceVerdict, Verdict
from tests.helpers.cases import planted
from tests.helpers.making import slice_of

WORDS = "unlabelled images are brighter (mean grey level 132.0 against 98.0)"
BRIGHTER = Difference("mean grey level", 0.9, 0.8, 0.95, 0.001, WORDS)
FOUND = ReferenceCheck(Verdict.DIFFERENT, 0.001, 0.97, [BRIGHTER] * 5, 100, 80, (1.0, 10.0), 7)
ALIKE = replace(FOUND, verdict=Verdict.ALIKE, p_value=0.4, differences=[])
FEW = replace(ALIKE, verdict=Verdict.TOO_FEW, reference=3)


def case(brighter: float, unlabelled: int = 40) -> Case:
    """Real images of which the reference is the second half; unlabelled ones have some grey levels more."""
    made, _ = planted()
    count = 2 * unlabelled
    real = made.real.take(np.arange(count) % len(made.real))
    more = np.random.default_rng(0).normal(brighter, 20, count) * (np.arange(count) < unlabelled)

    def read(row: int) -> GreyImage:
        return np.asarray(np.clip(slice_of(row) + more[row], 0, 255), np.uint8)

    used = np.where(np.arange(count) < unlabelled, UNKNOWN, NOT_USED).astype(np.int8)
    return Case(replace(real, read=read), made.generated, used, np.arange(count))


def test_a_reference_of_the_same_kind_passes_without_weights() -> None:
    same = replace(case(0), real=replace(case(0).real, read=slice_of))
    checked, verdict = with_checked_reference(same, Mismatch.REFUSE)
    assert checked is same
    assert verdict is not None
    assert verdict.warnings == []
    assert "That does not show that there is none." in verdict.note


def test_another_kind_is_refused_with_what_differs_or_ignored_loudly() -> None:
    other = case(60)
    with pytest.raises(MembershipError, match="unlabelled images are brighter") as caught:
        with_checked_reference(other, Mismatch.REFUSE)
    assert "\n" not in str(caught.value)
    checked, verdict = with_checked_reference(other, Mismatch.IGNORE)
    assert checked.weights is None
    assert verdict is not None
    assert "NOTHING IS PROMISED" in verdict.warnings[0]
    with pytest.raises(MembershipError, match=r"weights cannot repair.*What differs: unlabelled images are brighter"):
        with_checked_reference(other, Mismatch.WEIGHT)


def test_a_small_difference_is_weighted_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(160, 4))
    values[:80, 0] += 1
    what = [Feature("mean grey level", "brighter", "darker"), *(Feature(f"number {n}", "more", "less") for n in range(3))]
    monkeypatch.setattr(reference, "features_of", lambda images: Features(what, values))
    checked, verdict = with_checked_reference(case(0, 80), Mismatch.WEIGHT)
    assert verdict is not None
    assert verdict.effective is not None
    assert checked.weights is not None
    assert np.corrcoef(np.log(checked.weights), values[:, 0])[0, 1] > 0.8
    assert "patients were weighted" in verdict.warnings[0]


def test_without_reference_or_question_there_is_nothing_to_check() -> None:
    some = case(0)
    for label in (UNKNOWN, NOT_USED):
        asked = replace(some, used=np.full(len(some.real), label, np.int8))
        assert with_checked_reference(asked, Mismatch.REFUSE) == (asked, None)


@pytest.mark.parametrize("check", [FOUND, ALIKE, FEW])
@pytest.mark.parametrize(("mismatch", "effective"), [(Mismatch.REFUSE, None), (Mismatch.IGNORE, None), (Mismatch.WEIGHT, 37.0)])
def test_settings_of_a_run_give_the_verdict_back(check: ReferenceCheck, mismatch: Mismatch, effective: float | None) -> None:
    verdict = ReferenceVerdict(check, mismatch, effective)
    again = ReferenceVerdict.of_settings({"reference": verdict.as_dict()})
    assert again is not None
    assert (again.warnings, again.note, again.as_dict()) == (verdict.warnings, verdict.note, verdict.as_dict())
    assert ReferenceVerdict.of_settings({}) is None


def test_words_say_what_differs_and_what_that_means() -> None:
    assert ReferenceVerdict(FOUND, Mismatch.REFUSE).refusal.startswith(
        "no p-value is shown, because the reference is of another kind than the unlabelled images (100 unlabelled and 80 "
        f"reference patients, p = 0.001, classifier AUROC 0.97): {WORDS}; "
    )
    assert FOUND.words.endswith("; and 2 further features")
    assert "a classifier tells the sides apart (AUROC 0.97)" in replace(FOUND, differences=[]).words
    (weighted,) = ReferenceVerdict(FOUND, Mismatch.WEIGHT, 37.4).warnings
    assert "they are worth 37 of 80" in weighted
    assert "NOTHING IS PROMISED" not in weighted
    (few,) = ReferenceVerdict(FEW, Mismatch.REFUSE).warnings
    assert "it takes at least 7 reference patients" in few
    assert "Unlabelled patients have 1 image, reference patients 10 (median); p-values allow for that." in few
    assert "no number would be enough" in ReferenceVerdict(replace(FEW, needed=None), Mismatch.REFUSE).warnings[0]
