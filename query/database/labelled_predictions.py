"""Pair a run's predictions with the labels they may be evaluated on, by method and group."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import SynthtraceError
from query.database.store import Store
from query.evaluation.classification import Bools, Floats
from query.inputs.groups import ONE_FILE
from query.inputs.labels import labels_by_row
from query.text import many

_UNSEEN = ("unlabelled", "cross-fitted")  # roles of decisions whose label was not looked at
_SIBLING = "sibling"  # of images held back, see `query.membership.decisions.Role`


class EvaluationError(SynthtraceError):
    """There is nothing to evaluate; the message is one line that says why and how to mend it."""


@dataclass(frozen=True)
class LabelledPredictions:
    """The decisions of a method on labelled images whose labels it had not seen, those that answer yes or no.

    Attributes:
        method: its name.
        images: (n,) numbers of the images.
        used: (n,) bool, what is known.
        groups: (n,) str.
        predicted: (n,) bool, the binary prediction.
        values: (n,) finite, larger for used; None where some image has none.
        probability: (n,) P(used); None where some image has none.
        threshold: of the values, where all images have the same.
        answers: (n,) str, of the primary method, see `query.membership.decisions.Decision`; empty of the others.
        held_back: (h,) values of siblings that were held back; those without a value are left out.
        held_groups: (h,) str, their groups.
        unanswered: images of either kind without a yes or no: (used, not used).
        seen: labelled images left out, because the method saw their labels or does not say whether it did.
        reference: values of those left out that are known not to be used, for the figure.
    """

    method: str
    images: NDArray[np.int64]
    used: Bools
    groups: NDArray[np.str_]
    predicted: Bools
    values: Floats | None
    probability: Floats | None
    threshold: float | None
    answers: NDArray[np.str_]
    held_back: Floats
    held_groups: NDArray[np.str_]
    unanswered: tuple[int, int]
    seen: int
    reference: Floats


def known_labels(store: Store, run: int, labels: Mapping[str, bool] | None) -> dict[int, bool]:
    """Number of an image -> whether it was used."""
    if labels is None:
        rows = store.sql("SELECT image_id, used FROM labels WHERE run_id = $run", {"run": run}).to_pylist()
        known = {row["image_id"]: row["used"] for row in rows}
        if not known:
            raise EvaluationError(f"{store.path}: run {run} knows no labels; give them with --labels FILE")
        return known
    query = "SELECT image_id, name FROM images WHERE run_id = $run AND role = 'real' ORDER BY 1"
    images = store.sql(query, {"run": run}).to_pydict()
    return {images["image_id"][row]: used for row, used in labels_by_row(images["name"], labels).items()}


def groups_said(groups: Mapping[int, str], known: Mapping[int, bool]) -> str:
    of = [groups[image] for image in known]
    alone = sum(group.startswith("alone") for group in of)
    files = sum(group.startswith(f"group: {ONE_FILE} ") for group in of)
    if alone + files == len(of):
        slices = " (slices of one file together)" if files else ""
        return f"Patients are unknown: every image counts as a group by itself{slices}, so intervals may be too narrow."
    by_itself = ("image without a group counts by itself", "images without a group count by themselves")
    others = f"; {many(alone, *by_itself)}" if alone else ""
    return f"{many(len(set(of)), 'group')}, as given{others}."


def described(store: Store, run: int) -> dict[str, dict[str, Any]]:
    """Method -> what it told about itself."""
    rows = store.sql("SELECT * FROM methods WHERE run_id = $run", {"run": run}).to_pylist()
    return {row["method"]: {**row, "facts": json.loads(row["facts"]), "detail": json.loads(row["detail"])} for row in rows}


def ordered(store: Store, run: int, asked: Sequence[str], note: Mapping[str, Any]) -> list[str]:
    """Methods to evaluate: those asked for, or all, the primary one first."""
    rows = store.sql("SELECT DISTINCT method FROM decisions WHERE run_id = $run ORDER BY 1", {"run": run})
    there = rows["method"].to_pylist()
    if not there:
        raise EvaluationError(f"{store.path}: run {run} holds no decisions")
    unknown = [name for name in asked if name not in there]
    if unknown:
        raise EvaluationError(
            f"{store.path}: run {run} holds no decisions of {unknown[0]!r}; there are those of {', '.join(there)}"
        )
    return list(dict.fromkeys(asked)) or sorted(there, key=lambda name: not note.get(name, {}).get("facts", {}).get("primary"))


def labelled_predictions(
    store: Store, run: int, known: Mapping[int, bool], groups: Mapping[int, str], methods: Sequence[str]
) -> dict[str, LabelledPredictions]:
    """The decisions on labelled images, by method."""
    query = "SELECT * FROM decisions WHERE run_id = $run ORDER BY image_id"
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
    for row in store.sql(query, {"run": run}).to_pylist():
        if row["method"] in rows and row["image_id"] in known:
            rows[row["method"]].append(row)
    return {name: _of_method(name, method_rows, known, groups) for name, method_rows in rows.items()}


def _of_method(
    method: str, rows: list[dict[str, Any]], known: Mapping[int, bool], groups: Mapping[int, str]
) -> LabelledPredictions:
    if len({row["image_id"] for row in rows}) < len(rows):
        raise EvaluationError(f"{method} decided some images twice in this run; decide anew")
    seen = [row for row in rows if row["role"] not in (*_UNSEEN, _SIBLING)]
    held = [row for row in rows if row["role"] == _SIBLING]
    unseen = [row for row in rows if row["role"] in _UNSEEN]
    answered = [row for row in unseen if row["used"] is not None]
    silent = known.keys() - {row["image_id"] for row in (*seen, *held, *answered)}
    images = np.array([row["image_id"] for row in answered], np.int64)
    thresholds, valued = {row["threshold"] for row in answered}, [row for row in held if row["value"] is not None]
    return LabelledPredictions(
        method=method,
        images=images,
        used=np.array([known[image] for image in images.tolist()], bool),
        groups=np.array([groups[image] for image in images.tolist()], str),
        predicted=np.array([row["used"] for row in answered], bool),
        values=_numbers(answered, "value"),
        probability=_numbers(answered, "probability"),
        threshold=thresholds.pop() if len(thresholds) == 1 else None,
        answers=np.array([row["answer"] or "" for row in answered], str),
        held_back=np.array([row["value"] for row in valued], np.float64),
        held_groups=np.array([groups[row["image_id"]] for row in valued], str),
        unanswered=(sum(known[image] for image in silent), sum(not known[image] for image in silent)),
        seen=len(seen),
        reference=np.array([r["value"] for r in seen if not known[r["image_id"]] and r["value"] is not None], np.float64),
    )


def _numbers(rows: Sequence[Mapping[str, Any]], column: str) -> Floats | None:
    """A column as numbers; None where it lacks any."""
    values = np.array([np.nan if row[column] is None else row[column] for row in rows], np.float64)
    return values if len(values) and np.isfinite(values).all() else None
