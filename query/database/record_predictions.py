"""The predictions of a run as rows of tables `decisions` and `methods`."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from query.database.store import Rows, Store
from query.membership.predict import Predictions


def rows_of_predictions(predictions: Predictions, first: int) -> Iterator[Rows]:
    """A row for each method and real image, and what each method is.

    Args:
        predictions: of step predict.
        first: id of the first real image.
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
            "answer": [None if decision is None else str(decision) for decision in each.decision],
            "role": [str(role) for role in each.role],
        }
        yield "decisions", rows
        facts, detail = (json.dumps(dict(values), sort_keys=True) for values in (each.facts, each.detail))
        needs = each.facts["needs"]
        method = {"method": each.method, "calibrated": each.calibrated, "needs": needs, "note": each.note}
        yield "methods", {name: [value] for name, value in {**method, "facts": facts, "detail": detail}.items()}


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
