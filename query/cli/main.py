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
from query.cli.commands.plan import plan_command
from query.cli.commands.predict import predict
from query.cli.commands.report import report
from query.cli.commands.serve import serve
from query.cli.parameters import PREFIX
from query.cli.program import Program

COMMANDS = {  # section of `--help` -> its commands, in the order shown
    "Audit": (audit_command, demo_command),
    "Step by step": (index, compare_command, plan_command, predict, evaluate),
    "Search": (lookup_command, map_command),
    "Training-data leakage, for generator owners": (leakage_command, filter_command),
    "Results": (report, serve, sql, submit),
    "Tools": (train, check, info, doctor),
}


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

    Results go to standard output, progress and messages to standard error.

    Exit codes: 0 done; 1 findings above a threshold that you set (check: damaged files); 2 wrong usage or nothing to work on;
    3 done, but some images could not be read.

    Every option can also be set in the environment (SYNTHTRACE_DEVICE for all commands, SYNTHTRACE_INDEX_DEVICE for one) or in a
    TOML file (synthtrace.toml in the working folder, or --config FILE). Keys at the top of the file apply to all commands, keys
    in a table such as [index] to one. The command line overrides the environment, and the environment overrides the file.
    """


for section, commands in COMMANDS.items():
    program.add_section(section, commands)


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
