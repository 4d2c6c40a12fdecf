"""Output of `demo`: where its report lies, and what to do next, as commands to paste."""

import shlex
import shutil
import sys
from pathlib import Path

from query.flow import DATABASE, REPORT


def called() -> str:
    """How this program was started, for another command from the same folder."""
    program = sys.argv[0]
    if program.endswith(".py"):  # python -m
        return f"{shlex.quote(sys.executable)} -m query.cli.main"
    found = shutil.which("synthtrace")
    return "synthtrace" if found and Path(found).samefile(program) else shlex.quote(program)


def report_line(out: Path) -> str:
    """The address of an audit's report, which a browser opens."""
    return f"Report: {(out / REPORT).resolve().as_uri()}"


def next_steps(out: Path, example: Path) -> str:
    """Three commands that work as they stand.

    Args:
        out: folder of the demo.
        example: folder of the demo whose slices stand for somebody's own images.
    """
    program, folder = called(), shlex.quote(str(out))
    slices = [shlex.quote(str(example / "slices" / side)) for side in ("real", "generated")]
    return f"""
{report_line(out)}

Next, each line as it stands:
  look through the closest pairs in a browser
    {program} serve {folder}/generated --db {folder}/{DATABASE}
  ask the database
    {program} sql --db {folder}/{DATABASE} most-copied
  audit two folders of images; put yours in their place
    {program} audit {" ".join(slices)} --out out"""
