"""Command `relocate`: say where the images of a collection or a database lie now."""

from pathlib import Path

import click

from query.cli.options import common_options, json_option
from query.cli.parameters import EXISTING_FOLDER, command, option, together
from query.cli.program import exit_code, show
from query.text import many, name


@command()
@click.argument("path", metavar="COLLECTION|DB", type=click.Path(exists=True, path_type=Path))
@click.argument("new", metavar="FOLDER", type=EXISTING_FOLDER)
@option("--role", type=click.Choice(["real", "generated"]), help="Side of a database whose images moved.")
@together(json_option, common_options)
def relocate(path: Path, new: Path, role: str | None, as_json: bool) -> int:
    """Say where the images of a collection or a database lie now.

    Collections and databases hold names and vectors, not images. If the images were moved, or are mounted elsewhere on this
    machine, FOLDER is the folder that their names start from. It must hold some of them, unchanged. Exit code 3 if others are
    missing.

    \b
    Example:
      synthtrace relocate generated.collection /mnt/scans/generated
    """
    from query.database.moved import relocate_collection, relocate_runs
    from query.database.store import Store

    if path.is_dir():
        if role:
            raise click.UsageError("--role is for a database; a collection has one side")
        moved = relocate_collection(path, new)
    elif role is None:
        raise click.UsageError("a database has two sides: name the one that moved by --role real or --role generated")
    else:
        with Store.open(path) as store:
            moved = relocate_runs(store, role, new)
    lines = [f"{name(moved.what)}: {many(moved.images, 'file')}, now in {name(moved.after)} (before: {name(moved.before)})"]
    if moved.missing:
        lines.append(f"{many(len(moved.missing), 'file')} missing there, such as {name(moved.missing[0])}")
    show(moved, as_json, "\n".join(lines))
    return exit_code(len(moved.missing))
