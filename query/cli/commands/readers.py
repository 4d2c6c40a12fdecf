"""Command `readers`: what blinded readers say of pairs, and how far they agree."""

from pathlib import Path

from query.cli.options import common_options, json_option, run_option
from query.cli.parameters import DATABASE, command, option, together
from query.cli.program import DONE, show


@command()
@option("--db", required=True, type=DATABASE, help="DuckDB file of the run; labels lie beside it.")
@run_option
@together(json_option, common_options)
def readers(db: Path, run: int | None, as_json: bool) -> int:
    """Show the labels of blinded readers and how far they agree.

    Readers label pairs in `synthtrace serve --blinded`. Agreement is Cohen's kappa of any two readers, and Krippendorff's alpha
    and Fleiss' kappa of more, with 95% intervals by patients: 1 is full agreement, 0 is that of chance.

    \b
    Example:
      synthtrace readers --db audit/synthtrace.duckdb
    """
    from query.database.readings import readings
    from query.database.store import Store
    from query.inputs.reviews import SUFFIX, read_blinded
    from query.report.text.readers import readers_text

    with Store.open(db, read_only=True) as store:
        found = readings(store, store.known_run(run), read_blinded(db.with_suffix(SUFFIX)))
    show(found, as_json, readers_text(found))
    return DONE
