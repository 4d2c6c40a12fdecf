"""Decisions on patients, and on the whole set, for the report: what stands before anything that is said of images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from query.database.store import Store
from query.membership.calibration import least_rejected, smallest_p
from query.membership.set_test import LEVEL, SetTest
from query.report.statistics import GIVEN
from query.text import plain

if TYPE_CHECKING:
    from query.membership.cross_fit import Prediction
    from query.membership.predict import Predictions

DECISIONS = ("used", "no trace found", "undecided")


@dataclass(frozen=True)
class DecidedPatient:
    """What the primary method says of a patient.

    Attributes:
        patient: as the groups name him; the name of his image where it has no group.
        id, image: his image that lies nearest to the generated ones.
        images: that the p-value stands on.
        role: see `query.membership.decisions.Role`.
    """

    patient: str
    id: int
    image: str
    images: int
    role: str
    p: float
    q: float
    decision: str


@dataclass(frozen=True)
class PatientsSummary:
    """What the primary method says of patients; None is not shown.

    Attributes:
        tested: patients with a p-value: unlabelled ones; where all are labelled, these, each without his own label.
        answers: decision -> how many of them.
        reference: patients known not to be used.
        smallest_p: that so many can give.
        least: so many must reach it together before anybody can be called used.
        called: those called used, the smallest p first.
        groups_from: who says which images are of one patient, see `query.report.run_summary.Known`.
    """

    tested: int | None
    answers: Mapping[str, int | None]
    reference: int | None
    smallest_p: float | None
    least: int | None
    called: Sequence[DecidedPatient]
    groups_from: str


@dataclass(frozen=True)
class WholeSummary:
    """What the primary method says of all unlabelled patients together; None is not shown.

    Attributes:
        p: of the claim that none of them was used.
        significant: some were used, with 95% confidence.
        share_low: and at least this share of them.
        used_low: the same as a number of patients.
        patients: in the set.
        reference: patients known not to be used.
        groups_from: as in `PatientsSummary`.
    """

    p: float | None
    significant: bool | None
    share_low: float | None
    used_low: int | None
    patients: int | None
    reference: int | None
    groups_from: str


def unit(groups_from: str) -> str:
    """``patient``, or ``group`` where nobody said which images are of one patient."""
    return "patient" if groups_from == GIVEN else "group"


def patients_summary(
    decided: Sequence[DecidedPatient], facts: Mapping[str, object], unlabelled: bool, groups_from: str
) -> PatientsSummary | None:
    """Of the unlabelled patients, or of the labelled ones; None where none was tested.

    Args:
        decided: all patients.
        facts: of the primary method.
        unlabelled: which ones.
        groups_from: see `PatientsSummary`.
    """
    told = [each for each in decided if each.role == ("unlabelled" if unlabelled else "cross-fitted")]
    if not told:
        return None
    answers = Counter(each.decision for each in told)
    reference, fdr = int(str(facts["reference_patients"])), float(str(facts["fdr"]))
    return PatientsSummary(
        tested=len(told),
        answers={decision: answers[decision] for decision in DECISIONS},
        reference=reference,
        smallest_p=smallest_p(reference),
        least=least_rejected(reference, len(told), fdr),
        called=[each for each in told if each.decision == "used"],
        groups_from=groups_from,
    )


def recorded_patients(store: Store, run: int, method: str) -> list[DecidedPatient]:
    """The patients of a run, the smallest p first, of equal ones the nearest."""
    query = """SELECT p.patient, p.image_id AS id, i.name AS image, p.images, p.role, p.p_value AS p, p.q_value AS q, p.decision
        FROM patient_decisions AS p
        JOIN images AS i ON i.run_id = p.run_id AND i.image_id = p.image_id
        JOIN decisions AS d ON d.run_id = p.run_id AND d.image_id = p.image_id AND d.method = p.method
        WHERE p.run_id = $run AND p.method = $method ORDER BY p.p_value, d.value DESC, p.image_id"""
    return [DecidedPatient(**row) for row in store.sql(query, {"run": run, "method": method}).to_pylist()]


def predicted_patients(predictions: "Predictions", primary: "Prediction") -> list[DecidedPatient]:
    """The same of what step predict found; ids are rows."""
    found = primary.patients
    if found is None:
        return []
    columns = (found.rows, found.images, found.role, found.p, found.q, found.decision)
    patients = [
        DecidedPatient(predictions.patient(row), row, predictions.names[row], images, str(role), p, q, str(decision))
        for row, images, role, p, q, decision in zip(*map(plain, columns), strict=True)
    ]
    return sorted(patients, key=lambda each: (each.p, -primary.value[each.id], each.id))


def recorded_whole(store: Store, run: int, method: str, groups_from: str) -> WholeSummary | None:
    """The set of a run; None where it was not tested."""
    query = "SELECT p_value, share_low, patients, reference_patients FROM set_tests WHERE run_id = $run AND method = $method"
    found = store.sql(query, {"run": run, "method": method}).to_pylist()
    return whole_summary(SetTest(*found[0].values()), groups_from) if found else None


def whole_summary(found: SetTest | None, groups_from: str) -> WholeSummary | None:
    """The same of what step predict found."""
    if found is None:
        return None
    significant = found.p_value <= LEVEL
    same = (found.patients, found.reference, groups_from)
    return WholeSummary(found.p_value, significant, found.share_low, found.used_low, *same)
