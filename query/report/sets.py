"""Write the report on several generated sets: one HTML page, its values as JSON and CSV, and the figure."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Template

from embeddings.files.spreadsheet import write_rows
from embeddings.files.writing import make_folder, write_atomic, write_text
from indexer.build.commit import versions
from query import text
from query.comparison.combined import COMBINED
from query.leakage import sets_text
from query.leakage.set_figures import LEAKS_MORE
from query.leakage.sets import COLUMNS, LeakageOfSets
from query.report.figures.drawing import uri
from query.report.figures.figures import save, style
from query.report.figures.forest import forest_figure
from query.report.html.environment import environment
from query.report.html.page import HERE


def write_sets_report(found: LeakageOfSets, folder: Path, warnings: Sequence[str] = ()) -> list[str]:
    """Write report.html, report.json, figures.csv and differences.png, readable for their owner only; their paths.

    No image and no name of one is in them.

    Args:
        found: what the sets leak.
        folder: made where it is missing.
        warnings: what makes all of it doubtful, a sentence each.

    Raises:
        FullDisk, OSError: a file cannot be written.
    """
    make_folder(folder)
    with style():
        figure = forest_figure(found) if any(each.difference and each.difference.has_interval for each in found.figures) else None
        written = [save(figure, folder / "differences.png")] if figure else []
        chart = uri(figure) if figure else ""
    write_text(folder / "report.html", rendered(found, chart, warnings))
    write_text(folder / "report.json", text.as_json({**found.as_dict(), "warnings": list(warnings)}) + "\n")
    write_atomic(folder / "figures.csv", lambda file: write_rows(file, COLUMNS, found.rows()))
    return [str(path) for path in [*(folder / name for name in ("report.html", "report.json", "figures.csv")), *written]]


def rendered(found: LeakageOfSets, chart: str, warnings: Sequence[str] = ()) -> str:
    """The HTML page.

    Args:
        found: what the sets leak.
        chart: the figure as data URI; empty for none.
        warnings: see `write_sets_report`.
    """
    views = [COMBINED, *(view for view in found.views if view != COMBINED)]
    words: dict[str, Any] = {name: getattr(sets_text, name) for name in ("direction", "expected", "unit", "evidence_of")}
    words |= {"value": sets_text.value_cell, "difference": sets_text.difference_cell, "meanings": sets_text.MEANINGS}
    return _template().render(
        found=found,
        answers=sets_text.set_sentences(found),
        basis=sets_text.basis(found),
        tables={view: _table(found, view) for view in views},
        chart=chart,
        warnings=warnings,
        version=versions().get("synthtrace", "of unknown version"),
        style=(HERE / "style.css").read_text(encoding="utf-8"),
        **words,
    )


def _table(found: LeakageOfSets, view: str) -> dict[str, list[Any]]:
    """Figure -> that of each set, those first that say more or less leakage."""
    shown = sets_text.shown_figures(found, view)
    ordered = [figure for figure in LEAKS_MORE if figure in shown] + [figure for figure in shown if figure not in LEAKS_MORE]
    of = [found.of(each.name, view) for each in found.sets]
    return {figure: [each[figure] for each in of] for figure in ordered}


@cache
def _template() -> Template:
    made = environment(HERE)
    made.filters |= {"many": lambda number: f"{number:,}"}
    return made.get_template("sets.html")
