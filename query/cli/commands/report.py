"""Command `report`: write the HTML report of a run."""

from pathlib import Path
from typing import Any

import click

from query import terminal
from query.cli.options import common_options, json_option, run_option
from query.cli.parameters import NewFile, command, option, together
from query.cli.program import DONE, show, working
from query.text import many, name, plain

AUDITED = "synthtrace.duckdb"  # in the folder of an audit


@command()
@click.argument("audited", metavar="RUN", type=click.Path(exists=True, path_type=Path))
@run_option
@option(
    "--out",
    type=NewFile(),
    help="HTML file.  [default: report.html in the folder, or DB.report.html]",
)
@option("--public", is_flag=True, help="Leave out pixels, names and paths, and figures of fewer than 11 images or patients.")
@together(json_option, common_options)
def report(audited: Path, run: int | None, out: Path | None, public: bool, as_json: bool) -> int:
    """Write a printable HTML report on a run.

    RUN is the folder of an audit, or a database. The report is one HTML file without external resources; the same figures are
    written as JSON beside it.

    \b
    Example:
      synthtrace report audited/
    """
    from query.database.store import Store
    from query.report.writing import write_report

    database = audited / AUDITED if audited.is_dir() else audited
    suffix = ".public.html" if public else ".html"
    page = out or (audited / f"report{suffix}" if audited.is_dir() else audited.with_suffix(f".report{suffix}"))
    if page.suffix != ".html":
        raise click.UsageError(f"{name(str(page))}: the report is HTML; name a file that ends in .html")
    with working() as progress, Store.open(database, read_only=True) as store:
        number = store.known_run(run)
        progress.say(f"reporting on run {number} of {name(str(database))}")
        written = write_report(store, number, page, public=public)
    missing = [pair.missing for pair in written.summary.pairs.shown if pair.missing]
    for reason in missing[:1]:
        terminal.say(f"{len(missing):,} of {many(len(written.summary.pairs.shown), 'pair')} without a picture: {name(reason)}")
    facts: dict[str, Any] = {
        "html": str(page),
        "json": str(page.with_suffix(".json")),
        "run": number,
        "answer": plain(written.answer),
    }
    lines = [f"{each.question} {each.note}" for each in written.answer]
    show(facts, as_json, "\n".join([*lines, "", f"written: {name(str(page))} and {name(page.with_suffix('.json').name)}"]))
    return DONE
