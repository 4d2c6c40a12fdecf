"""Figures of an evaluation: ROC, distributions by label, reliability, dendrogram."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from query.evaluation.classification import Floats
from query.evaluation.reliability import Bin
from query.evaluation.resampling import Estimate
from query.report.figures.figures import BLUE, DASHED, GREY, INK, ORANGE, VERMILION, furnish, save, style
from query.report.text.numbers import interval
from query.report.text.units import shortened

SUFFIXES = ("png", "svg")
MEMBERSHIPS = ("used", "not used", "reference")  # in this order; reference: not used, and known to the method
_COLOURS = (BLUE, VERMILION, INK, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#8C8C00")
_DASHES = ("solid", DASHED, (0, (1, 1.2)))
_BINS = 30
_LEAVES = 60  # of a dendrogram; what is below is joined


@dataclass(frozen=True)
class Curve:
    """The ROC of a method: (points,) false and true positive rates, and its AUROC."""

    method: str
    false: Floats
    true: Floats
    area: Estimate


def roc_plot(folder: Path, curves: Sequence[Curve]) -> list[Path]:
    """`roc.png` and `.svg`: all methods in one square, the best in the legend first; what was written."""
    with style():
        figure = Figure(figsize=(9.2, 5.6))
        axes = figure.add_axes((0.085, 0.11, 0.52, 0.8))
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.2, label="chance")
        for number, curve in enumerate(sorted(curves, key=lambda curve: -curve.area.value)):
            colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)]
            label = f"{shortened(curve.method, 22)} {interval(curve.area)}"
            axes.plot(curve.false, curve.true, color=colour, linestyle=dash, linewidth=1.7, label=label)
        _square(axes, "false positive rate", "true positive rate")
        figure.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(0.62, 0.92), title="AUROC [95% by groups]")
        figure.text(0.085, 0.965, "Used against not used", fontsize=13, weight="bold", va="top")
        return _both(figure, folder, "roc")


def distribution_plot(folder: Path, method: str, values: Mapping[str, Floats], threshold: float | None) -> list[Path]:
    """`distribution_<method>.png` and `.svg`: what the method says, by membership; what was written.

    Args:
        folder: where to write.
        method: its name.
        values: entry of `MEMBERSHIPS` -> finite values, larger for used.
        threshold: from where on it says used; None where images have different ones.
    """
    styles: Mapping[str, Mapping[str, Any]] = {
        "used": {"color": VERMILION, "linewidth": 2},
        "not used": {"color": INK, "linewidth": 2, "linestyle": DASHED},
        "reference": {"color": GREY, "fill": True},
    }
    every = np.concatenate([np.empty(0), *values.values()])
    low, high = (every.min(), every.max()) if len(every) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    with style():
        figure = Figure(figsize=(9, 4))
        axes = figure.add_axes((0.085, 0.14, 0.9, 0.72))
        for name in reversed([name for name in MEMBERSHIPS if len(values.get(name, ()))]):  # the filled one behind the others
            part = np.asarray(values[name], np.float64)
            share = 100 * np.histogram(part, edges)[0] / len(part)
            axes.stairs(share, edges, label=f"{name} ({len(part):,}, median {np.median(part):.3g})", **styles[name])
        if threshold is not None and isfinite(threshold):
            axes.axvline(threshold, color=BLUE, linewidth=1.4, label=f"threshold {threshold:.3g}")
        if axes.get_legend_handles_labels()[0]:
            furnish(axes)
        axes.set_xlabel("value (larger speaks for used)")
        axes.set_ylabel("share of real images (%)")
        figure.text(0.085, 0.965, f"Method {shortened(method, 40)}", fontsize=13, weight="bold", va="top")
        return _both(figure, folder, f"distribution_{_file(method)}")


def reliability_plot(folder: Path, method: str, bins: Sequence[Bin], brier: Estimate) -> list[Path]:
    """`reliability_<method>.png` and `.svg`: how often images were used, by predicted P(used); what was written."""
    with style():
        figure = Figure(figsize=(6, 6))
        axes = figure.add_axes((0.12, 0.1, 0.84, 0.79))
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.2)
        for each in bins:
            if isfinite(each.used.low):
                axes.plot([each.mean] * 2, [each.used.low, each.used.high], color=BLUE, linewidth=1.4)
            axes.plot(each.mean, each.used.value, "o", color=BLUE, markersize=6)
            axes.annotate(f"{each.images:,}", (each.mean, each.used.value), (6, -3), textcoords="offset points", fontsize=8.5)
        _square(axes, "P(used), mean of the bin", "share that was used, with number of images and 95% by groups")
        figure.text(0.12, 0.97, f"Reliability of {shortened(method, 36)}", fontsize=13, weight="bold", va="top")
        figure.text(0.12, 0.93, f"Brier score {interval(brier, '.3f')}; 0 is best", fontsize=9.5, va="top")
        return _both(figure, folder, f"reliability_{_file(method)}")


def dendrogram_plot(
    folder: Path, method: str, linkage: ArrayLike, leaves: Sequence[str], cophenetic: float | None = None
) -> list[Path]:
    """`dendrogram_<method>.png` and `.svg`: the upper part of the tree, what each of its ends holds below it; what was written.

    Args:
        folder: where to write.
        method: its name.
        linkage: (n - 1, 4) as SciPy has it.
        leaves: (n,) what each image is, as "used", "not used", "generated".
        cophenetic: correlation of the tree's heights with the distances.

    Raises:
        ValueError: there are not n leaves for n - 1 links.
    """
    from scipy.cluster.hierarchy import dendrogram

    links = np.asarray(linkage, np.float64).reshape(-1, 4)
    if len(links) != len(leaves) - 1:
        raise ValueError(f"{len(links)} links join {len(links) + 1} leaves, {len(leaves)} are given")
    held = _held(links, leaves)
    kinds = sorted(set(leaves))
    with style():
        figure = Figure(figsize=(11, 5.6))
        axes = figure.add_axes((0.06, 0.2, 0.925, 0.68))

        def label(node: int) -> str:
            return " ".join(f"{held[kind][node]:,}{kind[0]}" for kind in kinds if held[kind][node])

        options = {"truncate_mode": "lastp", "p": _LEAVES, "color_threshold": 0, "above_threshold_color": INK}
        dendrogram(links, ax=axes, leaf_label_func=label, leaf_rotation=90, leaf_font_size=7, **options)
        axes.set_ylabel("height of the join (Ward)")
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        note = "images at each end: " + ", ".join(f"{kind[0]} {kind}" for kind in kinds)
        note += "" if cophenetic is None else f"; cophenetic correlation {cophenetic:.3f}"
        figure.text(0.06, 0.965, f"Clusters of {shortened(method, 40)}", fontsize=13, weight="bold", va="top")
        figure.text(0.06, 0.915, note, fontsize=9.5, va="top")
        return _both(figure, folder, f"dendrogram_{_file(method)}")


def _held(links: Floats, leaves: Sequence[str]) -> dict[str, list[int]]:
    """Kind -> how many leaves of it each node holds, leaves first, joins in their order."""
    held = {kind: [int(leaf == kind) for leaf in leaves] for kind in set(leaves)}
    for left, right in links[:, :2].astype(np.int64):
        for below in held.values():
            below.append(below[left] + below[right])
    return held


def _square(axes: Axes, across: str, up: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)


def _file(method: str) -> str:
    """The method's name as part of a file's."""
    return re.sub(r"[^\w.-]", "_", method)


def _both(figure: Figure, folder: Path, name: str) -> list[Path]:
    return [save(figure, folder / f"{name}.{suffix}") for suffix in SUFFIXES]
