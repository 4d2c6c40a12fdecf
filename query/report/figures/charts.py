"""Charts of a run: distances, values of a method, ROC, reliability; in the report without heading, in files with one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from query.report.distributions import ALL_PAIRS, GENERATED, GROUPS, ViewSummary
from query.report.figures.figures import BLUE, DASHED, GREY, INK, ORANGE, VERMILION
from query.report.histograms import Histogram
from query.report.predictions import Range, Reliability, RocCurve
from query.report.text.numbers import interval
from query.report.text.units import distance_text, shortened

REFERENCE = "reference"  # images not used that the method knows
_DOTTED = (0, (1, 1.2))
_GREEN, _PINK, _SKY = "#009E73", "#CC79A7", "#56B4E9"
_COLOURS = (BLUE, VERMILION, INK, ORANGE, _GREEN, _PINK, _SKY, "#8C8C00")
_STYLES: Mapping[str, Mapping[str, Any]] = {
    ALL_PAIRS: {"color": GREY, "fill": True},
    REFERENCE: {"color": GREY, "fill": True},
    GENERATED: {"color": ORANGE, "linewidth": 1.8, "linestyle": _DOTTED},
    "used": {"color": VERMILION, "linewidth": 1.8},
    "not used": {"color": INK, "linewidth": 1.8, "linestyle": DASHED},
    "unlabelled": {"color": BLUE, "linewidth": 1.8},
}
_LABELS = {
    ALL_PAIRS: "all pairs",
    GENERATED: "generated to nearest real",
    "used": "real, used, to nearest",
    "not used": "real, not used, to nearest",
    "unlabelled": "real, no label, to nearest",
}


@dataclass(frozen=True)
class Heading:
    """What stands above a chart: a title, and a note in its colour; nothing in the report, where text does that."""

    title: str = ""
    note: str = ""
    colour: str = VERMILION

    @property
    def height(self) -> float:
        """Inches that it takes."""
        return 0.32 * bool(self.title) + 0.24 * bool(self.note)


NO_HEADING = Heading()


def distance_figure(view: ViewSummary, heading: Heading = NO_HEADING) -> Figure:
    """All pairs and the nearest ones, by what is known of the real images, with the marks."""
    figure, axes = _histogram_axes(view.unit, "share of each kind, per bin (%)", heading)
    medians = {each.images: distance_text(view.view, each.median) for each in view.nearest if each.median is not None}
    for name in (ALL_PAIRS, GENERATED, *reversed(GROUPS)):
        if name in view.histogram:
            _stairs(axes, view.histogram, name, _LABELS[name], medians.get(name))
    if reference := view.reference:
        label = f"reference: {reference.share:.0%} of images not used are nearer"
        axes.axvline(reference.distance, color=_GREEN, linewidth=1.3, linestyle=(0, (6, 2)), label=label)
    for mark in view.thresholds:
        axes.axvline(mark.distance, color=_PINK, linewidth=1.3, label=f"threshold of {mark.method}")
    _add_legend(figure, axes)
    return figure


def value_figure(
    method: str,
    histogram: Mapping[str, Histogram],
    threshold: Range | None,
    medians: Mapping[str, float] | None = None,
    heading: Heading = NO_HEADING,
) -> Figure:
    """What a method says.

    Args:
        method: its name.
        histogram: of its values, by what is known of the images: an entry of `GROUPS`, or `REFERENCE`.
        threshold: of the binary prediction.
        medians: of the same values, where the legend is to give them.
    """
    figure, axes = _histogram_axes(
        f"value of method {method} (no unit): more like used →", "share of each kind, per bin (%)", heading
    )
    for name in (REFERENCE, *reversed(GROUPS)):
        if name in histogram:
            median = (medians or {}).get(name)
            _stairs(axes, histogram, name, f"real images {name}", None if median is None else f"{median:.3g}")
    if threshold:
        label = "threshold of the binary prediction"
        axes.axvspan(threshold.low, threshold.high, color=_GREEN, alpha=0.25, linewidth=1.3, label=label)
    _add_legend(figure, axes)
    return figure


def roc_figure(curves: Sequence[RocCurve], heading: Heading = NO_HEADING) -> Figure:
    """All methods in one square, in their order."""
    figure, axes = _axes((8, 4.2), (0.08, 0.13, 0.44, 0.83), heading)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.2, label="chance 0.50")
    for number, curve in enumerate(curves):
        dash = ("solid", DASHED, _DOTTED)[number % 3]
        label = f"{shortened(curve.method, 24)} {interval(curve.auroc)}"
        axes.plot(curve.false, curve.true, color=_COLOURS[number % len(_COLOURS)], linestyle=dash, linewidth=1.7, label=label)
    _square(axes, "share of images not used that are predicted used (← better)", "share of used images found (↑ better)")
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.03, 1.02))
    return figure


def reliability_figure(found: Reliability, heading: Heading = NO_HEADING) -> Figure:
    """How often images were used, by predicted probability."""
    figure, axes = _axes((4.6, 4.2), (0.15, 0.13, 0.81, 0.83), heading)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.2)
    for each in found.bins:
        used = each.used
        if used.has_interval:
            axes.plot([each.mean] * 2, [used.low, used.high], color=BLUE, linewidth=1.4)
        axes.plot(each.mean, used.value, "o", color=BLUE, markersize=5)
        axes.annotate(f"{each.images:,}", (each.mean, used.value), (6, -3), textcoords="offset points", fontsize=8)
    _square(axes, "predicted P(used), as a share of 1", "share that was used (of 1; bars: 95% by groups)")
    return figure


def _axes(size: tuple[float, float], box: tuple[float, float, float, float], heading: Heading) -> tuple[Figure, Axes]:
    """A figure with its heading at the top, and axes.

    Args:
        size: width and height in inches, without the heading.
        box: left, bottom, width and height of the axes, as shares of the size.
    """
    height = size[1] + heading.height
    figure = Figure(figsize=(size[0], height))
    left, bottom, across, up = box
    figure.text(left, 1 - 0.1 / height, heading.title, fontsize=13, weight="bold", va="top")
    figure.text(left, 1 - 0.4 / height, heading.note, fontsize=9.5, va="top", color=heading.colour)
    axes = figure.add_axes((left, bottom * size[1] / height, across, up * size[1] / height))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def _histogram_axes(across: str, up: str, heading: Heading) -> tuple[Figure, Axes]:
    """Axes with room for a legend above them."""
    figure, axes = _axes((8, 3.7), (0.075, 0.135, 0.91, 0.62), heading)
    axes.set(xlabel=across, ylabel=up)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    return figure, axes


def _stairs(axes: Axes, histograms: Mapping[str, Histogram], name: str, label: str, median: str | None) -> None:
    """A histogram from its first to its last bin that holds anything, in percent for the narrowest bin: joined bins are means."""
    found = histograms[name]
    width = min(np.diff(each.edges).min() for each in histograms.values())
    edges, counts = np.asarray(found.edges), np.asarray(found.shares or found.counts)
    beside = [] if found.shares else [f"{counts.sum():,}"]  # a report for anybody does not say how many
    beside += [] if median is None else [f"median {median}"]
    share = 100 * counts / counts.sum() * width / np.diff(edges)
    first, last = np.flatnonzero(counts)[[0, -1]]
    label += f" ({', '.join(beside)})" if beside else ""
    axes.stairs(share[first : last + 1], edges[first : last + 2], label=label, **_STYLES[name])


def _square(axes: Axes, across: str, up: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=across, ylabel=up)
    axes.grid(color="#E6E6E6", linewidth=0.8)


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Above the axes, where it covers no curve."""
    axes.set_ylim(bottom=0)
    handles = axes.get_legend_handles_labels()
    place = (axes.get_position().x0 - 0.015, axes.get_position().y1 + 0.9 / figure.get_figheight())
    figure.legend(*handles, frameon=False, fontsize=8.5, loc="upper left", ncols=2, bbox_to_anchor=place)
