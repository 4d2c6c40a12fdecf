"""Options from a TOML file: `synthtrace.toml` in the working folder, or the file named by --config."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from embeddings.files.reading import parse_toml
from embeddings.files.text import decoded
from query.cli.parameters import Destination, Option, Pair

CONFIG = Path("synthtrace.toml")  # read where it lies in the working folder
CONFIG_SAID = "synthtrace.config"  # in click's `meta`: messages about the file


def read_config(ctx: click.Context, _: click.Parameter, named: Path | None) -> None:
    """Take defaults for this command from a TOML file: keys above the first table are for every command that has such an option.

    A file that merely lies in the working folder may have come with it from elsewhere: it decides nothing that is written.

    Raises:
        click.UsageError: the file cannot be read, or holds what is no option; the message names it.
    """
    path = named or CONFIG
    if named is None and not path.is_file():
        return
    try:
        values = parse_toml(decoded(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: cannot be read as TOML: {error}") from error
    program = ctx.find_root().command
    assert isinstance(program, click.Group)
    wanted, left = {}, []
    for name, key, value in _entries(values, program, path):
        param = _options(program.commands[name]).get(key)
        if param is None:
            raise click.UsageError(f"{path}: {name} has no option {key!r}; it has {', '.join(_options(program.commands[name]))}")
        if program.commands[name] is ctx.command:
            checked = _checked(param, value, f"{path}: {key}", ctx)
            if named is None and _names_output(param):
                left.append(key)
            else:
                wanted[str(param.name)] = checked
    ctx.default_map = wanted
    ctx.meta[CONFIG_SAID] = [f"options from {path}"]
    if left:
        why = "may be written to, and is taken only from the command line or a file named by --config"
        ctx.meta[CONFIG_SAID].append(f"{path}: not {', '.join(left)}: what it names {why}")


def _names_output(param: click.Option) -> bool:
    """Whether the option names a file or folder that need not be there yet, or an address that data goes to."""
    return isinstance(param.type, Destination) or (isinstance(param.type, click.Path) and not param.type.exists)


def _entries(values: Mapping[str, Any], program: click.Group, path: Path) -> Iterator[tuple[str, str, Any]]:
    """Command, option and value of each entry: first those for all commands, then those of the commands' own tables."""
    for key, value in values.items():
        if not isinstance(value, Mapping):
            having = [name for name, command in program.commands.items() if _key(key) in _options(command)]
            if not having:
                raise click.UsageError(f"{path}: no command has an option {key!r}")
            yield from ((name, _key(key), value) for name in having)
    for name, table in values.items():
        if isinstance(table, Mapping):
            if name not in program.commands:
                raise click.UsageError(f"{path}: there is no command {name!r}; there are {', '.join(program.commands)}")
            yield from ((name, _key(key), value) for key, value in table.items())


def _checked(param: click.Option, value: Any, where: str, ctx: click.Context) -> Any:
    """The value as the option takes it."""
    if isinstance(value, bool) != param.is_flag or isinstance(value, Mapping):
        raise click.UsageError(f"{where} must {'' if param.is_flag else 'not '}be true or false")
    if param.multiple and not isinstance(value, list):
        value = [value]
    if isinstance(value, list) and not param.multiple and not isinstance(param.type, Pair):
        raise click.UsageError(f"{where} must be one value, not a list")
    try:
        param.type_cast_value(ctx, value)
    except click.BadParameter as error:
        raise click.UsageError(f"{where}: {error.message}") from error
    return value


def _options(command: click.Command) -> dict[str, click.Option]:
    """Options of a command that a file may set, by their names without dashes."""
    options = {param.word: param for param in command.params if isinstance(param, Option)}
    return {word: param for word, param in options.items() if word != "config"}


def _key(key: str) -> str:
    return key.replace("_", "-")
