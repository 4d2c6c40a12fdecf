"""The reference of a case: checked before anything is calibrated by it, weighted where that is asked for."""

from dataclasses import replace

from query.membership.case import Case, MembershipError
from query.membership.reference_check import check_reference
from query.membership.reference_features import features_of
from query.membership.reference_verdict import Mismatch, ReferenceVerdict
from query.membership.reference_weights import weights_of


def with_checked_reference(case: Case, mismatch: Mismatch) -> tuple[Case, ReferenceVerdict | None]:
    """The case, weighted where its reference is of another kind and that can be repaired; and what was found.

    None where there is nothing to check: no reference, or no unlabelled image.

    Raises:
        MembershipError: the reference is of another kind, and that is refused, or weights cannot repair it.
        ImageError: a file is not there any more, or not what it was.
    """
    if not len(case.reference) or not len(case.unlabelled):
        return case, None
    features = features_of(case.real)
    sides = case.groups, case.unlabelled, case.reference, case.seed
    verdict = ReferenceVerdict(check_reference(features, *sides), mismatch)
    if not verdict.different or mismatch is Mismatch.IGNORE:
        return case, verdict
    if mismatch is Mismatch.REFUSE:
        raise MembershipError(verdict.refusal)
    try:
        weights = weights_of(features, *sides)
    except MembershipError as error:
        raise MembershipError(f"{error}. What differs: {verdict.check.words}") from error
    return replace(case, weights=weights.of_row), replace(verdict, effective=weights.effective)
