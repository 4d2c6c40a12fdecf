"""Files of an evaluation: `metrics.csv`, `metrics.json` and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embeddings.files.writing import make_folder
from query.database.evaluation import Evaluation
from query.database.labelled_predictions import LabelledPredictions
from query.database.store import Store, write_table
from query.evaluation import ranking, reliability
from query.report.figures import curves
from query.report.figures.curves import Curve


def write_evaluation(found: Evaluation, store: Store, folder: Path) -> list[Path]:
    """`metrics.csv`, `metrics.json` and the figures, all readable for their owner only; what was written.

    Args:
        found: what `evaluate` gave.
        store: the same.
        folder: made where it is missing.
    """
    make_folder(folder)
    table = store.analyse("metrics", run=found.run)
    written = [folder / "metrics.csv", folder / "metrics.json"]
    for path in written:
        write_table(table, path)
    scored = {name: labelled for name, labelled in found.labelled.items() if labelled.values is not None}
    written += curves.roc_plot(
        folder, [_curve(labelled) for labelled in scored.values() if 0 < labelled.used.sum() < len(labelled.used)]
    )
    for name, labelled in found.labelled.items():
        written += _figures(folder, labelled, found.detail[name])
    return written


def _curve(labelled: LabelledPredictions) -> Curve:
    assert labelled.values is not None
    area = ranking.auroc_interval(labelled.values, labelled.used, labelled.groups)
    return Curve(labelled.method, *ranking.roc(labelled.values, labelled.used), area)


def _figures(folder: Path, labelled: LabelledPredictions, detail: Mapping[str, Any]) -> list[Path]:
    """The figures of one method."""
    written = []
    if labelled.values is not None:
        parts = {
            "used": labelled.values[labelled.used],
            "not used": labelled.values[~labelled.used],
            "reference": labelled.reference,
        }
        written += curves.distribution_plot(folder, labelled.method, parts, labelled.threshold)
    if labelled.probability is not None:
        bins = reliability.reliability(labelled.probability, labelled.used, labelled.groups)
        brier = reliability.brier(labelled.probability, labelled.used, labelled.groups)
        written += curves.reliability_plot(folder, labelled.method, bins, brier)
    if {"linkage", "leaves"} <= detail.keys():
        written += curves.dendrogram_plot(folder, labelled.method, detail["linkage"], detail["leaves"], detail.get("cophenetic"))
    return written
