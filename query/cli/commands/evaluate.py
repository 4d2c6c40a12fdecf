"""Commands `evaluate` and `submit`: measure predictions against labels, write the ImageCLEF file."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from query.cli.options import common_options, json_option, run_option, table_options
from query.cli.parameters import DATABASE, EXISTING_FILE, EXISTING_FOLDER, Delimiter, NewFile, command, option, together
from query.cli.program import DONE, exit_code, show, working
from query.text import many, name, table

if TYPE_CHECKING:
    from query.benchmarks.published import Recomputed
    from query.inputs.tables import TableForm
    from query.report.imageclef import Expected, RunFile

TASKS = ("2023-1", "2024-1", "2025-1", "2025-2")  # of ImageCLEFmedical GANs, as `query.report.imageclef.Task`
SHIPPED = "published"  # --recompute without a file


@command()
@option("--db", default="synthtrace.duckdb", type=DATABASE, help="DuckDB file with predictions; metrics are stored there too.")
@run_option
@option("--labels", type=EXISTING_FILE, help="CSV of image,used (1 or 0).  [default: labels of the run]")
@option("--method", "methods", multiple=True, metavar="NAME", help="Method to evaluate; repeat for several.  [default: all]")
@table_options
@option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for figures, metrics.csv and metrics.json.")
@option(
    "--task",
    type=click.Choice(TASKS[:3]),
    default=TASKS[0],
    help="Task of ImageCLEFmedical GANs, whose figure comes first: F1 in 2023, Cohen's kappa later; all are shown.",
)
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
    task: str,
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
    from query.evaluation.classification import Measure
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
    first = Measure.F1 if task == TASKS[0] else Measure.KAPPA
    facts = {"first": str(first), **evaluation.as_dict(), "files": [str(path) for path in written]}
    files = f"\n\n{many(len(written), 'file')} in {name(str(out))}" if out else ""
    show(facts, as_json, evaluation_text(evaluation, first) + files)
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
@option(
    "--undecided",
    metavar="yes|no|SUBSET",
    help="Prediction for images without a binary prediction (unreadable, blank): yes or no, of task 2025-2 a subset.",
)
@option("--all", "every", is_flag=True, help="Include labelled images.")
@option("--task", type=click.Choice(TASKS), default=TASKS[0], help="Task of ImageCLEFmedical GANs: year and number.")
@option("--header", metavar="TEXT", default="", help="First line of the file, such as image,label.  [default: none]")
@option("--separator", type=Delimiter(), default=",", help="Separator of the file that is written or checked.")
@option(
    "--names",
    type=click.Choice(["id", "file", "path"]),
    default="id",
    help="How images are named: id is the file without suffix.",
)
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
    task: str,
    header: str,
    separator: str,
    names: str,
    delimiter: str | None,
    encoding: str | None,
    check: Path | None,
    ids: Path | None,
    as_json: bool,
) -> int:
    """Write or check a submission to the ImageCLEF GANs task.

    The file has one line per real image (real_unknown_0001,1; 1 means used) and no header: the binary prediction of the method,
    which images also have of which predict says "undecided" or "no trace found". Of task 2025-2, after synthtrace
    attribute, it has one line per generated image with the most probable subset. Only the format of 2023 was published with a
    validator; --header, --separator and --names adapt the others. Exit code 1 if --check finds a fault.

    \b
    Example:
      synthtrace submit --db results.duckdb --method fusion --out run.csv
      synthtrace submit --db results.duckdb --task 2025-2 --out run.csv
    """
    from query.report.imageclef import Names, RunFile, Task, expected, submission, subset_submission, write_submission

    form, asked = RunFile(header, separator, Names(names)), Task(task)
    if check or ids:
        if not (check and ids) or method or out or undecided:
            raise click.UsageError("a check takes --check FILE and --ids FILE, and neither --method, --out nor --undecided")
        from query.inputs.tables import TableForm

        table = TableForm(delimiter, encoding)
        return _check(check, expected(ids, run=run, every=every, form=table, task=asked, written=form), form, as_json)
    if not out or bool(method) == (asked is Task.SUBSET_2025):
        wanted = "--out FILE and no --method" if asked is Task.SUBSET_2025 else "--method NAME and --out FILE"
        raise click.UsageError(f"give {wanted}, or --check FILE and --ids FILE")
    from query.database.store import Store

    with Store.open(db, read_only=True) as store:
        if asked is Task.SUBSET_2025:
            subsets = subset_submission(store, run=run, every=every, undecided=undecided, form=form)
            write_submission(out, subsets, form)
            result = {"file": str(out), "task": task, "images": len(subsets), "subsets": dict(Counter(subsets.values()))}
            text = f"{many(len(subsets), 'image')}, each with its most probable subset"
        else:
            answers = submission(store, str(method), run=run, every=every, undecided=_chosen(undecided), form=form)
            write_submission(out, answers, form)
            result = {"file": str(out), "task": task, "method": method, "images": len(answers), "used": sum(answers.values())}
            text = f"{many(len(answers), 'image')}, {sum(answers.values()):,} of them predicted used by {name(str(method))}"
    show(result, as_json, f"{name(str(out))}: {text}")
    return DONE


def _chosen(undecided: str | None) -> bool | None:
    """Whether images without an answer are called used.

    Raises:
        click.UsageError: neither yes nor no.
    """
    if undecided not in ("yes", "no", None):
        raise click.UsageError(f"--undecided is yes or no, got {undecided!r}")
    return None if undecided is None else undecided == "yes"


def _check(path: Path, expected: "Expected", form: "RunFile", as_json: bool) -> int:
    from query.report.imageclef import faults

    problems = faults(path, expected.ids, expected.answers, form)
    text = "\n".join(map(name, problems)) if problems else f"{name(str(path))}: {many(len(expected.ids), 'id')}, no fault"
    show({"file": str(path), "ids": len(expected.ids), "faults": problems}, as_json, text)
    return exit_code(0, len(problems))
