"""Charts of a run, deterministic: figures, and for the HTML report data URIs (charts as SVG, pairs as PNG)."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embeddings.types import GreyImage
from embeddings.views.sift import resized
from query.comparison.geometry import SIZE
from query.report.distributions import ALL_PAIRS, GENERATED, GROUPS, ViewSummary
from query.report.figures.figures import BLUE, DASHED, GREY, INK, ORANGE, VERMILION, style
from query.report.histograms import Histogram
from query.report.pairs import Shown, difference
from query.report.predictions import PrimarySummary, Range, Reliability, RocCurve
from query.report.run_summary import RunSummary
from query.report.text.numbers import interval
from query.report.text.units import distance_text

LINES = 60  # of matched points that are drawn
HEIGHT = 3.7  # inches of a chart without heading
_GAP = 16  # pixels between two pictures
_GREEN, _PINK, _SKY = "#009E73", "#CC79A7", "#56B4E9"
_CURVES = (BLUE, VERMILION, INK, ORANGE, _GREEN, _PINK, _SKY, "#8C8C00")
_STYLES: Mapping[str, Mapping[str, Any]] = {
    ALL_PAIRS: {"color": GREY, "fill": True},
    GENERATED: {"color": ORANGE, "linewidth": 1.8, "linestyle": (0, (1, 1.2))},
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
    """What stands above a chart: a title, and what a reader must know of it; nothing in the report, where text does that."""

    title: str = ""
    note: str = ""

    @property
    def height(self) -> float:
        """Inches that it takes."""
        return 0.32 * bool(self.title) + 0.24 * bool(self.note)


NO_HEADING = Heading()


@dataclass(frozen=True)
class _Curve:
    """A histogram's label, look, and what its label says beside its count."""

    label: str
    look: Mapping[str, Any]
    note: str = ""


def charts(summary: RunSummary) -> dict[str, Any]:
    """All charts: ``views`` by name, and ``primary``, ``roc``, ``reliability`` where there is what they show."""
    with style():
        made: dict[str, Any] = {"views": {view.view: _uri(distance_figure(view)) for view in summary.views if view.histogram}}
        decided, evaluation = summary.decisions, summary.evaluation
        if decided and decided.primary and decided.primary.histogram:
            made["primary"] = values(decided.primary, decided.methods[0].threshold)
        if evaluation and evaluation.roc:
            made["roc"] = roc(evaluation.roc)
        if evaluation and evaluation.reliability:
            made["reliability"] = reliability(evaluation.reliability)
        return made


def distance_figure(view: ViewSummary, heading: Heading = NO_HEADING) -> Figure:
    """All pairs and the nearest ones, by what is known of the real images, with the marks."""
    figure, axes = _histogram_axes(view.unit, "share (%)", heading)
    medians = {each.images: each.median for each in view.nearest}
    for name in (ALL_PAIRS, GENERATED, *reversed(GROUPS)):
        if name in view.histogram:
            median = medians.get(name)
            note = "" if median is None else f"median {distance_text(view.view, median)}"
            _stairs(axes, view.histogram[name], _narrowest(view.histogram), _Curve(_LABELS[name], _STYLES[name], note))
    if reference := view.reference:
        label = f"reference: {reference.share:.0%} of images not used are nearer"
        axes.axvline(reference.distance, color=_GREEN, linewidth=1.3, linestyle=(0, (6, 2)), label=label)
    for mark in view.thresholds:
        axes.axvline(mark.distance, color=_PINK, linewidth=1.3, label=f"threshold of {mark.method}")
    _add_legend(figure, axes, heading)
    return figure


def values(primary: PrimarySummary, threshold: Range | None) -> str:
    """What the primary method says, by what is known of the images."""
    figure, axes = _histogram_axes(f"value of method {primary.method} (larger speaks for used)", "share of real images (%)")
    for name in reversed(GROUPS):
        if name in primary.histogram:
            curve = _Curve(f"real images {name}", _STYLES[name])
            _stairs(axes, primary.histogram[name], _narrowest(primary.histogram), curve)
    if threshold:
        axes.axvspan(
            threshold.low, threshold.high, color=_GREEN, alpha=0.25, linewidth=1.3, label="threshold of the binary prediction"
        )
    _add_legend(figure, axes)
    return _uri(figure)


def roc(curves: Sequence[RocCurve]) -> str:
    """All methods in one square."""
    figure = Figure(figsize=(8, 4.2))
    axes = figure.add_axes((0.08, 0.13, 0.44, 0.83))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.2, label="chance 0.50")
    for number, curve in enumerate(curves):
        dash = ("solid", DASHED, (0, (1, 1.2)))[number % 3]
        label = f"{curve.method[:24]} {interval(curve.auroc)}"
        axes.plot(curve.false, curve.true, color=_CURVES[number % len(_CURVES)], linestyle=dash, linewidth=1.7, label=label)
    _square(axes, "share of images not used that are predicted used", "share of used images found")
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0.54, 0.97))
    return _uri(figure)


def reliability(found: Reliability) -> str:
    """How often images were used, by predicted probability."""
    figure = Figure(figsize=(4.6, 4.2))
    axes = figure.add_axes((0.15, 0.13, 0.81, 0.83))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.2)
    for each in found.bins:
        used = each.used
        if used.has_interval:
            axes.plot([each.mean] * 2, [used.low, used.high], color=BLUE, linewidth=1.4)
        axes.plot(each.mean, used.value, "o", color=BLUE, markersize=5)
        axes.annotate(f"{each.images:,}", (each.mean, used.value), (6, -3), textcoords="offset points", fontsize=8)
    _square(axes, "predicted P(used)", "share that was used, 95% by groups")
    return _uri(figure)


def pair(shown: Shown) -> dict[str, Any]:
    """The pictures of a pair: both images as PNG with their places side by side, lines between matched points, the difference."""
    real, generated = resized(shown.real, SIZE), resized(shown.generated, SIZE)
    left = real.shape[1] + _GAP
    scales = [small.shape[1] / image.shape[1] for small, image in ((real, shown.real), (generated, shown.generated))]
    lines = shown.found.points[:: max(1, -(-len(shown.found.points) // LINES))].astype(float)
    places = np.hstack([lines[:, :2] * scales[0], lines[:, 2:] * scales[1] + [left, 0]]).round(1)
    return {
        "width": left + generated.shape[1],
        "height": max(real.shape[0], generated.shape[0]),
        "real": {"uri": _png(real), "width": real.shape[1], "height": real.shape[0]},
        "generated": {"uri": _png(generated), "left": left, "width": generated.shape[1], "height": generated.shape[0]},
        "lines": places.tolist(),
        "difference": _difference(shown),
    }


def _difference(shown: Shown) -> dict[str, Any] | None:
    """Blue where the generated image is darker, red where brighter, white where equal, grey where nothing overlaps."""
    signed, seen = difference(shown)
    if not seen.any():
        return None
    share = np.clip(signed / 128.0, -1, 1)[..., None]
    blue, red, white = (np.array(rgb, np.float64) for rgb in ((33, 102, 172), (178, 24, 43), (255, 255, 255)))
    coloured = white + np.where(share < 0, -share * (blue - white), share * (red - white))
    coloured[~seen] = 200
    small: Any = cv2.resize(coloured.astype(np.uint8), _fitted(signed.shape), interpolation=cv2.INTER_AREA)
    return {"uri": _png(small[..., ::-1]), "width": small.shape[1], "height": small.shape[0]}


def _fitted(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height with a longer side of `SIZE`."""
    scale = SIZE / max(shape[:2])
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _histogram_axes(across: str, up: str, heading: Heading = NO_HEADING) -> tuple[Figure, Axes]:
    """A figure with its heading at the top, room for the legend below that, and axes."""
    height = HEIGHT + heading.height
    figure = Figure(figsize=(8, height))
    figure.text(0.06, 1 - 0.1 / height, heading.title, fontsize=13, weight="bold", va="top")
    figure.text(0.06, 1 - 0.4 / height, heading.note, fontsize=9.5, va="top", color=VERMILION)
    axes = figure.add_axes((0.075, 0.135 * HEIGHT / height, 0.91, 0.62 * HEIGHT / height))
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _stairs(axes: Axes, found: Histogram, width: float, curve: _Curve) -> None:
    """A histogram from its first to its last bin that holds anything, in percent for each `width`: joined bins are averages."""
    edges, counts = np.asarray(found.edges), np.asarray(found.shares or found.counts)
    count = "" if found.shares else f"{counts.sum():,}"  # a report for anybody does not say how many
    beside = ", ".join(filter(None, (count, curve.note)))
    share = 100 * counts / counts.sum() * width / np.diff(edges)
    first, last = np.flatnonzero(counts)[[0, -1]]
    label = f"{curve.label} ({beside})" if beside else curve.label
    axes.stairs(share[first : last + 1], edges[first : last + 2], label=label, **curve.look)


def _narrowest(histograms: Mapping[str, Histogram]) -> float:
    return float(min(np.diff(found.edges).min() for found in histograms.values()))


def _square(axes: Axes, across: str, up: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=across, ylabel=up)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)


def _add_legend(figure: Figure, axes: Axes, heading: Heading = NO_HEADING) -> None:
    """Above the axes, where it covers no curve."""
    axes.set_ylim(bottom=0)
    top = 1 - heading.height / (HEIGHT + heading.height)
    figure.legend(
        *axes.get_legend_handles_labels(), frameon=False, fontsize=8.5, loc="upper left", ncols=2, bbox_to_anchor=(0.06, top)
    )


def _uri(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


def _png(image: GreyImage | NDArray[np.uint8]) -> str:
    done, data = cv2.imencode(".png", image)
    assert done
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"
