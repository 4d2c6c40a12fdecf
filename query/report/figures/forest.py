"""Forest plot of several generated sets: differences from the first with intervals, a panel for each unit."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from query.leakage.set_figures import LEAKS_MORE, UNITS, Unit
from query.leakage.sets import LeakageOfSets, SetFigure
from query.report.figures.figures import BLUE, GREY, INK, ORANGE, VERMILION
from query.report.text.units import shortened

_COLOURS = (VERMILION, BLUE, INK, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#8C8C00")
_ROW = 0.26  # inches of a row
_EDGE = 0.75  # inches of a panel beside its rows


def forest_figure(found: LeakageOfSets) -> Figure:
    """Every figure that says more or less leakage, by every view; to the right of 0 a set leaks more than the first."""
    panels = {unit: _rows(found, unit) for unit in Unit}
    panels = {unit: rows for unit, rows in panels.items() if rows}
    heights = [_EDGE + _ROW * len(rows) * max(1, len(found.sets) - 1) for rows in panels.values()]
    total = sum(heights) + 0.35
    figure, top = Figure(figsize=(8, total)), total - 0.35
    for (unit, rows), height in zip(panels.items(), heights, strict=True):
        axes = figure.add_axes((0.36, (top - height + 0.55) / total, 0.61, (height - _EDGE) / total))
        _panel(axes, found, unit, rows)
        top -= height
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=9, loc="upper left", ncols=4, bbox_to_anchor=(0.34, 1.0))
    return figure


def _rows(found: LeakageOfSets, unit: Unit) -> list[tuple[str, str]]:
    """View and figure of each row: the combined view first, the primary figure before all others."""
    known = {
        (each.view, each.figure)
        for each in found.figures
        if each.difference and each.difference.has_interval and each.figure in LEAKS_MORE and UNITS[each.figure] is unit
    }
    views, order = found.views[::-1], [found.primary, *(figure for figure in LEAKS_MORE if figure != found.primary)]
    return [(view, figure) for view in views for figure in order if (view, figure) in known]


def _panel(axes: Axes, found: LeakageOfSets, unit: Unit, rows: list[tuple[str, str]]) -> None:
    others, first = [each.name for each in found.sets[1:]], found.sets[0].name
    scale, drawn = 100 if unit is Unit.SHARE else 1, len(rows) * len(others)
    for number, name in enumerate(others):
        colour, label = _COLOURS[number % len(_COLOURS)], f"{shortened(name, 24)} - {shortened(first, 24)}"
        for place, (view, figure) in enumerate(rows):
            each = found.of(name, view)[figure]
            _mark(axes, each, place * len(others) + number, colour, scale, label if place == 0 else "")
    axes.axvline(0, color=INK, linewidth=0.9)
    middle = (len(others) - 1) / 2
    axes.set_yticks(
        [place * len(others) + middle for place in range(len(rows))], [_label(found, row) for row in rows], fontsize=8.5
    )
    axes.set_ylim(drawn - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=8.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    for place in range(1, len(rows)):
        axes.axhline(place * len(others) - 0.5, color=GREY, linewidth=0.4)
    if LEAKS_MORE[rows[0][1]] < 0:
        axes.invert_xaxis()
    axes.set_xlabel(f"difference, {unit}; to the right: leaks more than {shortened(first, 24)}", fontsize=9)


def _mark(axes: Axes, each: SetFigure, row: int, colour: str, scale: float, label: str) -> None:
    """A point with its interval; filled where that does not hold 0."""
    apart = each.difference
    if apart is None or not apart.has_interval:
        return
    axes.plot([scale * apart.low, scale * apart.high], [row, row], color=colour, linewidth=1.8, solid_capstyle="butt")
    face = "white" if each.less is None else colour
    axes.plot(scale * apart.value, row, "o", color=colour, markerfacecolor=face, markersize=5.5, label=label)


def _label(found: LeakageOfSets, row: tuple[str, str]) -> str:
    view, figure = row
    return f"{figure}, {view}{' (primary)' if row == ('combined', found.primary) else ''}"
