"""The group of all commands. A command is imported when it is run."""

import click

from query import terminal
from query.cli.parameters import PREFIX
from query.cli.program import Program

COMMANDS = {  # section of `--help` -> its commands, in the order shown, and where they are
    "Audit": {"audit": "audit:audit_command", "demo": "audit:demo_command"},
    "Step by step": {
        "index": "index:index",
        "compare": "compare:compare_command",
        "plan": "plan:plan_command",
        "predict": "predict:predict",
        "evaluate": "evaluate:evaluate",
    },
    "Search": {
        "lookup": "lookup:lookup_command",
        "map": "lookup:map_command",
        "attribute": "attribute:attribute",
    },
    "Training-data leakage, for generator owners": {
        "leakage": "leakage:leakage_command",
        "filter": "leakage:filter_command",
        "fidelity": "leakage:fidelity_command",
    },
    "More than one set": {
        "duplicates": "duplicates:duplicates_command",
        "leaky-splits": "duplicates:leaky_splits_command",
        "differences": "differences:differences",
    },
    "Results": {
        "report": "report:report",
        "serve": "serve:serve",
        "readers": "readers:readers",
        "sql": "inspect:sql",
        "submit": "evaluate:submit",
    },
    "Tools": {
        "fetch": "index:fetch",
        "train": "index:train",
        "check": "inspect:check",
        "relocate": "relocate:relocate",
        "info": "inspect:info",
        "doctor": "inspect:doctor",
    },
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
