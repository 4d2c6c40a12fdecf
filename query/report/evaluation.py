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
    scored = {name: judged for name, judged in found.labelled.items() if judged.values is not None}
    written += curves.roc_plot(folder, [_curve(judged) for judged in scored.values() if 0 < judged.used.sum() < len(judged.used)])
    for name, judged in found.labelled.items():
        written += _figures(folder, judged, found.detail[name])
    return written


def _curve(judged: LabelledPredictions) -> Curve:
    assert judged.values is not None
    area = ranking.auroc_interval(judged.values, judged.used, judged.groups)
    return Curve(judged.method, *ranking.roc(judged.values, judged.used), area)


def _figures(folder: Path, judged: LabelledPredictions, detail: Mapping[str, Any]) -> list[Path]:
    """The figures of one method."""
    written = []
    if judged.values is not None:
        parts = {"used": judged.values[judged.used], "not used": judged.values[~judged.used], "reference": judged.reference}
        written += curves.distribution_plot(folder, judged.method, parts, judged.threshold)
    if judged.probability is not None:
        bins = reliability.reliability(judged.probability, judged.used, judged.groups)
        brier = reliability.brier(judged.probability, judged.used, judged.groups)
        written += curves.reliability_plot(folder, judged.method, bins, brier)
    if {"linkage", "leaves"} <= detail.keys():
        written += curves.dendrogram_plot(folder, judged.method, detail["linkage"], detail["leaves"], detail.get("cophenetic"))
    return written
