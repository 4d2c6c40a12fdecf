"""The command `synthtrace`: the group of all commands, and its entry point.

Heavy libraries are imported by the commands that need them: a single look-up must answer at once.
"""

import logging
import os
import sys
import warnings

import click

from query import terminal
from query.cli.commands.audit import audit_command, demo_command
from query.cli.commands.compare import compare_command
from query.cli.commands.evaluate import evaluate, submit
from query.cli.commands.index import index, train
from query.cli.commands.inspect import check, doctor, info, sql
from query.cli.commands.leakage import filter_command, leakage_command
from query.cli.commands.lookup import lookup_command, map_command
from query.cli.commands.predict import predict
from query.cli.commands.report import report
from query.cli.commands.serve import serve
from query.cli.options import PREFIX
from query.cli.program import Program

COMMANDS = (  # in the order in which people need them
    audit_command,
    demo_command,
    index,
    compare_command,
    lookup_command,
    map_command,
    predict,
    leakage_command,
    filter_command,
    train,
    evaluate,
    submit,
    report,
    serve,
    sql,
    check,
    info,
    doctor,
)


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        from indexer.build.commit import versions

        terminal.out(f"synthtrace {versions().get('synthtrace', '(not installed)')}")
        ctx.exit()


@click.group(
    cls=Program,
    context_settings={"auto_envvar_prefix": PREFIX, "help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit.")
def program() -> None:
    """Audit generated images for traces of the real images behind them.

    \b
    Example:
      synthtrace audit real/ generated/ --out report

    Results go to standard output, progress and messages to standard error. Exit codes: 0 done, 1 findings over a threshold that
    you set (match_budget: a damaged collection), 2 wrong usage or nothing to work on, 3 done but some images could not be read.

    Every option can also be set by the environment, SYNTHTRACE_DEVICE for all commands or SYNTHTRACE_INDEX_DEVICE for one, and by
    a TOML file, synthtrace.toml in the working folder or --config FILE: keys at its top are for all commands, those of a table
    such as [index] for one. The command line wins over the environment, the environment over the file.
    """


for command in COMMANDS:
    program.add_command(command)


def main() -> None:
    """Entry point of the command `synthtrace`."""
    os.umask(0o077)  # outputs hold patients' scans
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # decoders warn of what the images' own errors say better
    for library in ("PIL", "pydicom", "nibabel.global"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    terminal.prepare()
    program(prog_name="synthtrace")


if __name__ == "__main__":
    main()
