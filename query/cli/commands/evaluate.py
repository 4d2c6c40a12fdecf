"""Commands `evaluate` and `submit`: measure predictions against labels, write the ImageCLEF file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from query.cli.options import common_options, json_option, run_option, table_options
from query.cli.parameters import DATABASE, EXISTING_FILE, EXISTING_FOLDER, NewFile, command, option, together
from query.cli.program import DONE, exit_code, show, working
from query.text import many, name, table

if TYPE_CHECKING:
    from query.benchmarks.published import Recomputed
    from query.inputs.tables import TableForm

SHIPPED = "published"  # --recompute without a file


@command()
@option("--db", default="synthtrace.duckdb", type=DATABASE, help="DuckDB file with predictions; metrics are stored there too.")
@run_option
@option("--labels", type=EXISTING_FILE, help="CSV of image,used (1 or 0).  [default: labels of the run]")
@option("--method", "methods", multiple=True, metavar="NAME", help="Method to evaluate; repeat for several.  [default: all]")
@table_options
@option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for figures, metrics.csv and metrics.json.")
@option("--controls", is_flag=True, help="Add controls: permuted labels and grey levels alone.")
@option(
    "--real",
    type=EXISTING_FOLDER,
    help="Folder or collection of the real images, for --controls.  [default: as recorded]",
)
@option(
    "--recompute",
    is_flag=False,
    flag_value=SHIPPED,
    metavar="[FILE]",
    help="Check published figures (CSV) for consistency instead; without FILE those of ImageCLEF 2023.",
)
@together(json_option, common_options)
def evaluate(
    db: Path,
    run: int | None,
    labels: Path | None,
    methods: tuple[str, ...],
    delimiter: str | None,
    encoding: str | None,
    out: Path | None,
    controls: bool,
    real: Path | None,
    recompute: str | None,
    as_json: bool,
) -> int:
    """Evaluate predictions against labels.

    Metrics stand beside chance and baselines. Only labels that a method was not fitted on count. Intervals and tests are computed
    over groups of images (patients) if the run has them. Exit code 1 if --recompute finds inconsistent figures.

    \b
    Example:
      synthtrace evaluate --db results.duckdb --labels truth.csv --out evaluation
    """
    from query.inputs.tables import TableForm

    form = TableForm(delimiter, encoding)
    if recompute is not None:
        if run or labels or methods or out or controls or real:
            raise click.UsageError("--recompute looks at published figures only: leave the other options out")
        return _recompute(None if recompute == SHIPPED else Path(recompute), form, as_json)
    from query.database.evaluation import EvaluationSettings
    from query.database.evaluation import evaluate as evaluate_run
    from query.database.record_evaluation import record_evaluation
    from query.database.store import Store
    from query.inputs.labels import read_labels
    from query.report.evaluation import write_evaluation
    from query.report.text.evaluation import evaluation_text

    if not db.exists():  # for writing, the store would make it
        raise click.UsageError(f"{name(str(db))}: there is no such file")
    known = read_labels(labels, form) if labels else None
    with working() as report, Store.open(db) as store:
        evaluation = evaluate_run(
            store, EvaluationSettings(methods, controls, _folder(real)), run=run, labels=known, say=report.say
        )
        record_evaluation(store, evaluation)
        written = write_evaluation(evaluation, store, out) if out else []
    facts = {**evaluation.as_dict(), "files": [str(path) for path in written]}
    files = f"\n\n{many(len(written), 'file')} in {name(str(out))}" if out else ""
    show(facts, as_json, evaluation_text(evaluation) + files)
    return DONE


def _folder(real: Path | None) -> Path | None:
    """The folder of images, also where a collection of them was named."""
    from indexer.collection import Collection
    from query.cli.inputs import is_collection

    return Path(Collection(real).manifest.source) if real and is_collection(real) else real


def _recompute(path: Path | None, form: "TableForm", as_json: bool) -> int:
    from query.benchmarks.published import PUBLISHED, read_published, recompute
    from query.inputs.tables import AS_FOUND

    rows_checked = [recompute(row) for row in read_published(path or PUBLISHED, form if path else AS_FOUND)]
    words = {True: "yes", False: "NO", None: "unknown"}
    rows = [[recomputed.row.name, words[recomputed.consistent], recomputed.note] for recomputed in rows_checked]
    wrong = sum(recomputed.consistent is False for recomputed in rows_checked)
    note = f"{wrong} of {len(rows_checked)} published rows cannot be as printed"
    result = {"rows": [_row(recomputed) for recomputed in rows_checked], "inconsistent": wrong}
    show(result, as_json, "\n".join([table(["method", "consistent", "because"], rows), "", note]))
    return exit_code(0, wrong)


def _row(recomputed: "Recomputed") -> dict[str, Any]:
    """JSON-able values."""
    cells = [
        {
            "figure": cell.figure,
            "printed": str(cell.printed),
            "recomputed": round(cell.recomputed, 6),
            "fit": str(cell.fit),
        }
        for cell in recomputed.cells
    ]
    named = {"name": recomputed.row.name, "consistent": recomputed.consistent, "note": recomputed.note, "cells": cells}
    tables = [dict(zip(("tp", "tn", "fp", "fn"), each, strict=True)) for each in recomputed.tables]
    return {**named, "possible_counts": tables, "without": list(recomputed.culprits)}


@command()
@option("--db", default="synthtrace.duckdb", type=DATABASE, help="DuckDB file with predictions (read only).")
@run_option
@option("--method", metavar="NAME", help="Method whose predictions are submitted.")
@option("--out", type=NewFile(), help="File to write.")
@option("--undecided", type=click.Choice(["yes", "no"]), help="Prediction for images without one (unreadable, blank, undecided).")
@option("--all", "every", is_flag=True, help="Include labelled images.")
@table_options
@option("--check", type=EXISTING_FILE, help="Check this submission against the organisers' rules instead; needs --ids.")
@option("--ids", type=EXISTING_FILE, help="Expected ids for --check: a database, or a text file with one id per line.")
@together(json_option, common_options)
def submit(
    db: Path,
    run: int | None,
    method: str | None,
    out: Path | None,
    undecided: str | None,
    every: bool,
    delimiter: str | None,
    encoding: str | None,
    check: Path | None,
    ids: Path | None,
    as_json: bool,
) -> int:
    """Write or check a submission to the ImageCLEF GANs task.

    The file has one line per real image (real_unknown_0001,1; 1 means used) and no header. Exit code 1 if --check finds a fault.

    \b
    Example:
      synthtrace submit --db results.duckdb --method fusion --out run.csv
    """
    if check or ids:
        if not (check and ids) or method or out or undecided:
            raise click.UsageError("a check takes --check FILE and --ids FILE, and neither --method, --out nor --undecided")
        from query.inputs.tables import TableForm

        return _check(check, ids, run, every, TableForm(delimiter, encoding), as_json)
    if not (method and out):
        raise click.UsageError("give --method NAME and --out FILE, or --check FILE and --ids FILE")
    from query.database.store import Store
    from query.report.imageclef import submission, write_submission

    with Store.open(db, read_only=True) as store:
        answers = submission(store, method, run=run, every=every, undecided={"yes": True, "no": False, None: None}[undecided])
    write_submission(out, answers)
    used = sum(answers.values())
    note = f"{name(str(out))}: {many(len(answers), 'image')}, {used:,} of them predicted used by {name(method)}"
    show({"file": str(out), "method": method, "images": len(answers), "used": used}, as_json, note)
    return DONE


def _check(path: Path, ids: Path, run: int | None, every: bool, form: "TableForm", as_json: bool) -> int:
    from query.report.imageclef import expected_ids, faults

    expected = expected_ids(ids, run=run, every=every, form=form)
    problems = faults(path, expected)
    text = "\n".join(map(name, problems)) if problems else f"{name(str(path))}: {many(len(expected), 'id')}, no fault"
    show({"file": str(path), "ids": len(expected), "faults": problems}, as_json, text)
    return exit_code(0, len(problems))
