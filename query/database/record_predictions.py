"""The predictions of a run as rows of tables `decisions` and `methods`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from query.database.store import Rows, Store
from query.membership.decisions import PatientPredictions
from query.membership.predict import Predictions


def rows_of_predictions(predictions: Predictions, first: int, groups: Mapping[int, str]) -> Iterator[Rows]:
    """A row for each method and real image, for each patient, for the whole set, and what each method is.

    Args:
        predictions: of step predict.
        first: id of the first real image.
        groups: row of a real image -> its patient.
    """
    ids = np.arange(first, first + len(predictions.names))
    for each in predictions.methods:
        rows: dict[str, Any] = {
            "image_id": ids,
            "method": [each.method] * len(ids),
            "used": each.used,
            "value": each.value,
            "threshold": each.threshold,
            "p_value": each.p,
            "q_value": each.q,
            "probability": each.probability,
            "probability_low": each.probability_low,
            "probability_high": each.probability_high,
            "answer": [None if decision is None else str(decision) for decision in each.decision],
            "role": [str(role) for role in each.role],
        }
        yield "decisions", rows
        if each.patients and len(each.patients.rows):
            yield "patient_decisions", _of_patients(each.method, each.patients, predictions.names, first, groups)
        if each.whole:
            whole = {"method": each.method, "p_value": each.whole.p_value, "share_low": each.whole.share_low}
            whole |= {"patients": each.whole.patients, "reference_patients": each.whole.reference}
            yield "set_tests", {name: [value] for name, value in whole.items()}
        facts, detail = (json.dumps(dict(values), sort_keys=True) for values in (each.facts, each.detail))
        needs = each.facts["needs"]
        method = {"method": each.method, "calibrated": each.calibrated, "needs": needs, "note": each.note}
        yield "methods", {name: [value] for name, value in {**method, "facts": facts, "detail": detail}.items()}


def _of_patients(
    method: str, patients: PatientPredictions, names: Sequence[str], first: int, groups: Mapping[int, str]
) -> dict[str, Any]:
    return {
        "method": [method] * len(patients.rows),
        "patient": [groups.get(row, names[row]) for row in patients.rows.tolist()],
        "image_id": patients.rows + first,
        "images": patients.images,
        "role": list(map(str, patients.role)),
        "p_value": patients.p,
        "q_value": patients.q,
        "decision": list(map(str, patients.decision)),
    }


def record_threshold(store: Store, run: int, view: str, threshold: float) -> int:
    """Decide that a real image was used if some generated image is within the threshold; the number of those that were.

    Method is the view's name, value and threshold are negative distances, so that larger ones speak for used. A blank image gets
    no answer. Nothing about this rule is calibrated, and no label is looked at.

    Raises:
        StoreError: the database refuses.
    """
    query = """
        SELECT i.image_id, n.distance, n.blank FROM nearest_generated AS n
        JOIN images AS i ON i.run_id = n.run_id AND i.name = n.real_image AND i.role = 'real'
        WHERE n.run_id = $run AND n.view = $view ORDER BY i.image_id"""
    nearest = store.sql(query, {"run": run, "view": view}).to_pydict()
    used = [None if blank else d <= threshold for d, blank in zip(nearest["distance"], nearest["blank"], strict=True)]
    count = len(used)
    columns = {"image_id": nearest["image_id"], "used": used, "value": [-distance for distance in nearest["distance"]]}
    same = {"run_id": run, "method": view, "threshold": -threshold, "role": "unlabelled"}
    store.add("decisions", {**{name: [value] * count for name, value in same.items()}, **columns})
    return sum(map(bool, used))
