"""Write a report: one HTML file, and its figures as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embeddings.files.writing import write_text
from query.database.record import known_groups
from query.database.store import Store
from query.report.cells import enough_images
from query.report.figures import drawing
from query.report.html.page import rendered
from query.report.json_values import report_values
from query.report.pairs import Shown
from query.report.public import publicly
from query.report.run_summary import RunSummary, summarise
from query.report.text.sentences import Answer, answer, limits
from query.text import as_json


@dataclass(frozen=True)
class Report:
    """What a report says: the summary, the answer in words, and its limits."""

    summary: RunSummary
    answer: Sequence[Answer]
    limits: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values, as report.json holds them."""
        return report_values(self.summary, self.answer, self.limits)


def write_report(store: Store, run: int, out: Path, *, public: bool = False, database: Path | None = None) -> Report:
    """Write the report on a run, readable for its owner only, each file whole or not at all; what it says.

    The same run gives the same bytes, as long as its images and their collections are what they were.

    Args:
        store: holds the run.
        run: its number.
        out: the HTML file; the JSON stands beside it under the same name with ``.json``.
        public: leave out pixels, names, paths and figures of few images, see `query.report.public`.
        database: where the store's file will be, if not where it is: collections and reviews are looked for beside it.

    Raises:
        StoreError: the database cannot be read.
        FullDisk, OSError: a file cannot be written.
    """
    report, shown = reported(store, run, database or Path(store.path), public=public)
    write_files(report, shown, out)
    return report


def write_files(report: Report, shown: Mapping[int, Shown], out: Path) -> None:
    """The HTML file `out`, and the JSON beside it.

    Args:
        shown: pixels of pairs by their place, see `reported`.

    Raises:
        FullDisk, OSError: a file cannot be written.
    """
    pictures = {place: drawing.pair(each) for place, each in shown.items()}
    html = rendered(report.summary, report.answer, report.limits, drawing.charts(report.summary), pictures)
    write_text(out.with_suffix(".json"), as_json(report) + "\n")
    write_text(out, html)


def reported(store: Store, run: int, database: Path, *, public: bool = False) -> tuple[Report, dict[int, Shown]]:
    """The report, and the pixels of its pairs by their place; arguments as of `write_report`."""
    least = enough_images(known_groups(store, run))
    summary, shown = summarise(store, run, database, least if public else None)
    told, shown = (publicly(summary, least), {}) if public else (summary, shown)
    return Report(told, answer(told), limits(summary, told.pairs.rule)), shown
