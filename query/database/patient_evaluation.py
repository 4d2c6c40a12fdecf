"""Hold decisions on patients against labels, and used images against other slices of their patients."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from query.database.labelled_predictions import LabelledPredictions
from query.database.store import Store
from query.evaluation.classification import Floats
from query.evaluation.ranking import auroc_interval
from query.evaluation.resampling import Estimate, grouped_proportion


@dataclass(frozen=True)
class PatientsEvaluation:
    """How good decisions on patients are; intervals are Clopper and Pearson's, patients the trials.

    Attributes:
        used, not_used: patients tested, by whether labels say that an image of theirs was used.
        found: share of the used ones who are called used.
        false: share of patients not used among those called used.
    """

    used: int
    not_used: int
    found: Estimate
    false: Estimate


@dataclass(frozen=True)
class SiblingsEvaluation:
    """Whether evidence is of the image, or only of the patient.

    Attributes:
        images, patients: siblings: images that were not used, of patients with used ones.
        siblings: AUROC of used images against these; 0.5 where the method tells no image from another one of its patient.
        others: AUROC of used images against images of patients who were not used.
    """

    images: int
    patients: int
    siblings: Estimate
    others: Estimate


def patients_evaluation(
    store: Store, run: int, method: str, known: Mapping[int, bool], groups: Mapping[int, str]
) -> PatientsEvaluation | None:
    """The decisions of a method on patients; None where there are none on patients whose images are labelled.

    A patient was used where a tested image was. Where none is known to be, and some are not labelled, the patient is left out.

    Args:
        known: number of a real image -> whether it was used.
        groups: number of a real image -> its group.
    """
    query = """SELECT p.role, p.image_id, p.decision FROM patient_decisions AS p WHERE p.run_id = $run AND p.method = $method"""
    decided = store.sql(query, {"run": run, "method": method}).to_pylist()
    query = "SELECT image_id, role FROM decisions WHERE run_id = $run AND method = $method ORDER BY image_id"
    images: dict[tuple[str, str], list[bool | None]] = {}
    for row in store.sql(query, {"run": run, "method": method}).to_pylist():
        images.setdefault((groups[row["image_id"]], row["role"]), []).append(known.get(row["image_id"]))
    used, called = [], []
    for row in decided:
        labels = images[groups[row["image_id"]], row["role"]]
        if True in labels or None not in labels:
            used.append(True in labels)
            called.append(row["decision"] == "used")
    was, said = np.array(used, bool), np.array(called, bool)
    if not len(was):
        return None
    return PatientsEvaluation(
        used=int(was.sum()),
        not_used=int((~was).sum()),
        found=grouped_proportion(said[was], np.arange(was.sum())),
        false=grouped_proportion(~was[said], np.arange(said.sum())),
    )


def siblings_evaluation(predictions: LabelledPredictions) -> SiblingsEvaluation | None:
    """Used images against siblings, held back or not, and against images of other patients; None without siblings or values."""
    if predictions.values is None:
        return None
    used, of = predictions.used, predictions.groups
    beside = ~used & np.isin(of, of[used])
    values = np.concatenate([predictions.values[beside], predictions.held_back])
    groups = np.concatenate([of[beside], predictions.held_groups])
    if not len(values) or not used.any():
        return None
    others, mine = ~used & ~beside, predictions.values[used]

    def against(scores: Floats, where: NDArray[np.str_]) -> Estimate:
        both = np.concatenate([mine, scores])
        return auroc_interval(both, np.arange(len(both)) < used.sum(), np.concatenate([of[used], where]))

    return SiblingsEvaluation(
        images=len(values),
        patients=len(np.unique(groups)),
        siblings=against(values, groups),
        others=against(predictions.values[others], of[others]),
    )
