"""Command `report`: write the HTML report of a run."""

from pathlib import Path
from typing import Any

import click

from query import terminal
from query.cli.options import common_options, json_option, run_option
from query.cli.parameters import EXISTING_FILE, NewFile, command, database_of, option, together
from query.cli.program import DONE, show, working
from query.text import many, name, plain


@command()
@click.argument("audited", metavar="RUN", type=click.Path(exists=True, path_type=Path))
@run_option
@option(
    "--out",
    type=NewFile(),
    help="HTML file.  [default: report.html in the folder, or DB.report.html]",
)
@option("--public", is_flag=True, help="Leave out pixels, names and paths, and figures of fewer than 11 images or patients.")
@option("--summary", is_flag=True, help="Write one page to sign instead, without names and pictures, as HTML and Markdown.")
@option("--template", type=EXISTING_FILE, help="TOML file with the phrases of --summary, for another language.")
@together(json_option, common_options)
def report(
    audited: Path, run: int | None, out: Path | None, public: bool, summary: bool, template: Path | None, as_json: bool
) -> int:
    """Write a printable HTML report on a run.

    RUN is the folder of an audit, or a database. The report is one HTML file without external resources; the same figures are
    written as JSON beside it. With --summary it is one page for a data protection officer.

    \b
    Example:
      synthtrace report audited/
      synthtrace report audited/ --summary
    """
    from query.database.store import Store
    from query.report.writing import write_report

    if template and not summary:
        raise click.UsageError("--template is for --summary")
    database = database_of(audited)
    kind, suffix = "summary" if summary else "report", ".public.html" if public else ".html"
    page = out or (audited / f"{kind}{suffix}" if audited.is_dir() else audited.with_suffix(f".{kind}{suffix}"))
    if page.suffix != ".html":
        raise click.UsageError(f"{name(str(page))}: the {kind} is HTML; name a file that ends in .html")
    if summary:
        return _sign_off(database, run, page, template, public, as_json)
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


def _sign_off(database: Path, run: int | None, page: Path, template: Path | None, public: bool, as_json: bool) -> int:
    """The one-page summary."""
    from query.database.store import Store
    from query.report.sign_off.phrases import ENGLISH
    from query.report.sign_off.writing import write_sign_off

    with working() as progress, Store.open(database, read_only=True) as store:
        number = store.known_run(run)
        progress.say(f"summing up run {number} of {name(str(database))}")
        written = write_sign_off(store, number, page, template=template or ENGLISH, public=public)
    text = page.with_suffix(".md")
    facts = {"html": str(page), "markdown": str(text), "run": number, "page": plain(written.page)}
    show(facts, as_json, f"{written.markdown}\nwritten: {name(str(page))} and {name(text.name)}")
    return DONE
