"""Command `differences`: runs of several generated sets against the same real images, side by side."""

from contextlib import ExitStack
from pathlib import Path

import click

from query.cli.options import common_options, json_option, seed_option
from query.cli.parameters import command, database_of, option, together
from query.cli.program import DONE, show
from query.leakage.primary import TRACES
from query.text import name


@command()
@click.argument("runs", nargs=-1, required=True, metavar="NAME=DB[:RUN]...")
@option(
    "--primary",
    type=click.Choice(TRACES),
    metavar="FIGURE",
    help=f"Figure that the answer is about, named beforehand: {', '.join(TRACES)}.  [default: the first that all runs have]",
)
@seed_option
@together(json_option, common_options)
def differences(runs: tuple[str, ...], primary: str | None, seed: int, as_json: bool) -> int:
    """Hold recorded runs of several generated sets against the first.

    For sets from somebody else, where no hold-out images are there: each set was audited or predicted against the same real
    images. Each argument names a set and its run: the folder of an audit, or a database, and after a colon the number of the run
    if it is not the latest. Shares of called patients, of matches and of copies stand side by side, with differences over the
    same patients and 95% intervals. It compares these images, not their generators.

    \b
    Example:
      synthtrace differences A=report-a/ B=report-b/
      synthtrace differences A=results.duckdb:1 B=results.duckdb:2
    """
    from query.database.paired_runs import RecordedSet, paired_runs
    from query.database.store import Store
    from query.report.text.paired_runs import paired_text, paired_values

    named = [_named(argument) for argument in runs]
    if len({each for each, _, _ in named}) < len(named):
        raise click.UsageError("two runs have one name; each is NAME=DB or NAME=DB:RUN with a name of its own")
    with ExitStack() as opened:
        paths = dict.fromkeys(path for _, path, _ in named)
        stores = {path: opened.enter_context(Store.open(path, read_only=True)) for path in paths}
        sets = [RecordedSet(each, stores[path], stores[path].known_run(run)) for each, path, run in named]
        found = paired_runs(sets, primary=primary, seed=seed)
    show(paired_values(found), as_json, paired_text(found))
    return DONE


def _named(argument: str) -> tuple[str, Path, int | None]:
    """Name, database and run of an argument.

    Raises:
        UsageError: it has no name, or no database.
    """
    given, equals, place = argument.partition("=")
    path, colon, run = place.rpartition(":")
    if not colon or not run.isdecimal() or Path(place).exists():
        path, run = place, ""
    if not given or not equals or not path:
        raise click.UsageError(f"{name(argument)!r} names no run; write NAME=DB or NAME=DB:RUN, such as A=report-a/")
    return given, database_of(Path(path)), int(run) if run else None
