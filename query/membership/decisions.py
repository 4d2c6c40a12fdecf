"""Decisions on patients, from their p-values, and what they say of each image."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from query.membership.calibration import Evidence, least_rejected, q_values
from query.membership.case import USED, Case, Rows, Values


class Role(StrEnum):
    """What of an image's membership was known when it was predicted."""

    UNLABELLED = "unlabelled"  # nothing
    CROSS_FITTED = "cross-fitted"  # its label is known, but neither it nor that of its group was looked at
    SIBLING = "sibling"  # not used, but its patient was: held back, to tell evidence of an image from that of a patient
    SEEN = "seen"  # its label was looked at: never to be evaluated
    PERHAPS_SEEN = "perhaps seen"  # a model was fitted on images that nobody here can tell: never to be evaluated


class Decision(StrEnum):
    """The answers. None of them clears anybody: a trace that is not found may be there."""

    USED = "used"  # of a patient: one of the images was. Of an image: it is the patient's only one
    PATIENT_USED = "patient used"  # of an image: its patient was, by this image or by another one
    NO_TRACE = "no trace found"
    UNDECIDED = "undecided"  # could not be tested, or no answer is possible with so few reference patients


@dataclass(frozen=True)
class PatientPredictions:
    """What the primary method says of patients.

    Attributes:
        rows: (n,) the image of each that lies nearest to the generated ones.
        images: (n,) images that the p-value stands on.
        role: `Role.UNLABELLED` or `Role.CROSS_FITTED`.
        p: (n,) conformal p-values: no image of this patient was used.
        q: (n,) of each role apart.
        decision: of each.
    """

    rows: NDArray[np.int64]
    images: NDArray[np.int64]
    role: list[Role]
    p: Values
    q: Values
    decision: list[Decision]

    @property
    def asked(self) -> list[Decision]:
        """Of the unlabelled patients."""
        return [decision for decision, role in zip(self.decision, self.role, strict=True) if role is Role.UNLABELLED]


def decisions_of_patients(case: Case, known: Evidence, value: Values, fdr: float) -> PatientPredictions:
    """The decision on each patient who has a p-value: unlabelled ones, and apart from them those of known membership.

    Args:
        case, known: the images and their p-values.
        value: (nr,) what the p-values are of.
        fdr: q-value up to which a patient is called used.
    """
    used = known.patients.among(np.flatnonzero(case.used == USED))
    asked = np.setdiff1d(known.patients.among(case.unlabelled), used)
    one = _family(known, asked, known.unlabelled, case.unlabelled, value)
    other = _family(known, known.patients.among(case.labelled), known.labelled, case.labelled, value)
    decision = [each for family in (one, other) for each in _decided(case, family[3], fdr)]
    rows, images, p, q = (np.concatenate(both) for both in zip(one, other, strict=True))
    role = [Role.UNLABELLED] * len(one[2]) + [Role.CROSS_FITTED] * len(other[2])
    return PatientPredictions(rows, images, role, p, q, decision)


def _decided(case: Case, q: Values, fdr: float) -> list[Decision]:
    """Of patients with these q-values; undecided where nobody could be called used."""
    possible = least_rejected(case.reference_patients, len(q), fdr) <= len(q)
    return [Decision.USED if each <= fdr else Decision.NO_TRACE if possible else Decision.UNDECIDED for each in q]


def _family(
    known: Evidence, patients: NDArray[np.int64], p: Values, images: Rows, value: Values
) -> tuple[NDArray[np.int64], NDArray[np.int64], Values, Values]:
    """Of the patients with a p-value their nearest image, how many images they have, p and q."""
    patients = patients[np.isfinite(p[patients])]
    images = images[np.isfinite(value[images])]
    images = images[np.argsort(-value[images], kind="stable")]
    first = dict(reversed(list(zip(known.patients.of_row[images].tolist(), images.tolist(), strict=True))))
    rows = np.array([first[patient] for patient in patients.tolist()], np.int64)
    return rows, known.patients.sizes(images)[patients], p[patients], q_values(p[patients])


def decisions_of_images(case: Case, patients: PatientPredictions | None) -> tuple[Values, list[Decision | None]]:
    """(nr,) the q-value of each image's patient, and what the decision on the patient says of the image."""
    q = np.full(len(case.real), np.nan)
    if patients is None:
        return q, [None] * len(q)
    decision: list[Decision | None] = [Decision.UNDECIDED] * len(q)
    for number, row in enumerate(patients.rows.tolist()):
        family = case.unlabelled if patients.role[number] is Role.UNLABELLED else case.labelled
        own = family[case.groups[family] == case.groups[row]]
        several = patients.decision[number] is Decision.USED and len(own) > 1
        q[own] = patients.q[number]
        for image in own.tolist():
            decision[image] = Decision.PATIENT_USED if several else patients.decision[number]
    return q, decision
