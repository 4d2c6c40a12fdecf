"""Write a report: one HTML file, and its figures as JSON."""

from pathlib import Path
from typing import Any

from embeddings.files.writing import write_text
from query.database.store import Store
from query.report.figures import drawing
from query.report.findings import gather
from query.report.html.page import rendered
from query.text import as_json


def write_report(store: Store, run: int, out: Path, *, public: bool = False, database: Path | None = None) -> dict[str, Any]:
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
    found, shown = gather(store, run, database or Path(store.path), public=public)
    pictures = {place: drawing.pair(each) for place, each in shown.items()}
    html = rendered(found, drawing.charts(found), pictures)
    write_text(out.with_suffix(".json"), as_json(found) + "\n")
    write_text(out, html)
    return found
