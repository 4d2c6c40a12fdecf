"""Files of an evaluation: `metrics.csv`, `metrics.json` and figures."""

import re
from collections.abc import Callable
from math import isfinite
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from embeddings.files.writing import make_folder
from query.database.evaluation import Evaluation
from query.database.labelled_predictions import LabelledPredictions
from query.database.store import Store, write_table
from query.report.figures.charts import REFERENCE, Heading, reliability_figure, roc_figure, value_figure
from query.report.figures.dendrogram import dendrogram_figure
from query.report.figures.figures import INK, save, style
from query.report.histograms import of_values
from query.report.predictions import Range, Reliability, roc_curve
from query.report.text.numbers import interval
from query.report.text.units import shortened


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
    for labelled in found.labelled.values():
        written += _figures(folder, labelled, found)
    curves = sorted(filter(None, map(roc_curve, found.labelled.values())), key=lambda curve: -curve.auroc.value)
    heading = Heading("Used against not used: AUROC [95% by groups]")
    return [*written, *_saved(folder / "roc", lambda: roc_figure(curves, heading))]


def _figures(folder: Path, labelled: LabelledPredictions, found: Evaluation) -> list[Path]:
    """The figures of one method."""
    method, detail = labelled.method, found.detail[labelled.method]
    written = []
    if labelled.values is not None:
        written += _saved(folder / f"distribution_{_file(method)}", lambda: _value_figure(labelled))
    measures = found.methods[method]
    if measures.reliability is not None:
        curve = Reliability(method, measures.reliability)
        heading = Heading(
            f"Reliability of {shortened(method, 24)}", f"Brier score {interval(measures.brier, '.3f')}; 0 is best", INK
        )
        written += _saved(folder / f"reliability_{_file(method)}", lambda: reliability_figure(curve, heading))
    if {"linkage", "leaves"} <= detail.keys():
        tree = detail["linkage"], detail["leaves"], detail.get("cophenetic")
        written += _saved(folder / f"dendrogram_{_file(method)}", lambda: dendrogram_figure(method, *tree))
    return written


def _value_figure(labelled: LabelledPredictions) -> Figure:
    """What the method says of used images, of others, and of the reference."""
    assert labelled.values is not None
    values = {"used": labelled.values[labelled.used], "not used": labelled.values[~labelled.used], REFERENCE: labelled.reference}
    medians = {name: float(np.median(part)) for name, part in values.items() if len(part)}
    mark = labelled.threshold
    threshold = None if mark is None or not isfinite(mark) else Range(mark, mark)
    heading = Heading(f"Method {shortened(labelled.method, 40)}")
    return value_figure(labelled.method, of_values(values), threshold, medians, heading)


def _saved(path: Path, draw: Callable[[], Figure]) -> list[Path]:
    """The figure as PNG and as SVG."""
    with style():
        figure = draw()
        return [save(figure, path.with_name(f"{path.name}.{suffix}")) for suffix in ("png", "svg")]


def _file(method: str) -> str:
    """The method's name as part of a file's."""
    return re.sub(r"[^\w.-]", "_", method)
