"""Patients that image files name (DICOM): how many each side has, and how many stand where they should not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from indexer.collection import Collection
from query.inputs.groups import DUPLICATES, ONE_FILE
from query.text import many

PATIENTS = "patients"  # among the settings of a run


@dataclass(frozen=True)
class PatientCounts:
    """Patients of a comparison; never who they are.

    Attributes:
        real, generated: patients that files of either side name by PatientID, else series; 0 where files name none.
        shared: of these, those of both sides; None where the sides were hashed with different salts.
        both_labels: patients, or given groups, with real images that were used and others that were not.
    """

    real: int = 0
    generated: int = 0
    shared: int | None = 0
    both_labels: int = 0

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> "PatientCounts":
        """What `as_dict` put among the settings of a run; runs of earlier versions have none."""
        return cls(**settings.get(PATIENTS, {}))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)

    def of(self, role: str) -> int | None:
        """Patients of side ``real`` or ``generated``; None where its files name none."""
        return (self.real if role == "real" else self.generated) or None

    @property
    def warnings(self) -> list[str]:
        """What makes results doubtful, a sentence each."""
        lines = []
        if self.shared:
            which = many(self.shared, "patient has", "patients have")
            lines.append(f"WARNING: {which} real and generated images by DICOM headers: generated files may be real ones.")
        if self.shared is None:
            lines.append("WARNING: patients of both sides cannot be compared: different salts; index both again.")
        if self.both_labels:
            which = many(self.both_labels, "patient has", "patients have")
            lines.append(f"WARNING: {which} images that were used and others that were not; figures by label are less certain.")
        return lines


def count_patients(
    real: Collection, generated: Collection, labels: Mapping[int, bool], groups: Mapping[int, str]
) -> PatientCounts:
    """How many patients each side has, and how many are on both sides or under both labels.

    Args:
        real, generated: the sides.
        labels: row of a real image -> whether it was used.
        groups: row of a real image -> its group; near-duplicates and slices of one file name no patient.
    """
    named = _named(real.patients)
    given = {row: group for row, group in groups.items() if not group.startswith((f"{DUPLICATES} ", f"{ONE_FILE} "))}
    both = max(_under_both(labels, named), _under_both(labels, given))
    theirs = set(_named(generated.patients).values())
    shared = len(set(named.values()) & theirs) if _comparable(real, generated) else None
    return PatientCounts(len(set(named.values())), len(theirs), shared, both)


def shared_patients(first: Collection, second: Collection) -> int | None:
    """Patients that files of both name; None where they have different salts."""
    both = set(_named(first.patients).values()) & set(_named(second.patients).values())
    return len(both) if _comparable(first, second) else None


def shared_warning(count: int | None, first: str, second: str) -> str:
    """One line where two sets share patients, or where nobody can tell; empty where they share none."""
    if count is None:
        return f"WARNING: patients of {first} and {second} images cannot be compared: different salts; index them again."
    which = many(count, "patient has", "patients have")
    return f"WARNING: {which} {first} and {second} images by DICOM headers: leave them out of one side." if count else ""


def described(patients: Sequence[str]) -> str:
    """``12 patients`` and how many series, of hashed values; empty where there are none."""
    kinds = {kind: len({each for each in patients if each.startswith(f"{kind} ")}) for kind in ("patient", "series")}
    series = f"{kinds['series']:,} series without a PatientID" if kinds["series"] else ""
    return ", ".join(filter(None, [many(kinds["patient"], "patient") if kinds["patient"] else "", series]))


def _named(patients: Iterable[str]) -> dict[int, str]:
    return {row: patient for row, patient in enumerate(patients) if patient}


def _comparable(first: Collection, second: Collection) -> bool:
    salts = {each.manifest.salt for each in (first, second)} - {""}
    return len(salts) < 2


def _under_both(labels: Mapping[int, bool], groups: Mapping[int, str]) -> int:
    """Groups with images of both labels."""
    kinds = {label: {groups[row] for row, known in labels.items() if known is label and row in groups} for label in (True, False)}
    return len(kinds[True] & kinds[False])
