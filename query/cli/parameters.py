"""Building blocks of commands: options with a help group and an environment variable, and types of option values."""

import os
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from indexer import gpu_memory
from indexer.device import DEVICES

if TYPE_CHECKING:
    from query.comparison.matching import Budget

PREFIX = "SYNTHTRACE"
DEBUG, QUIET = "synthtrace.debug", "synthtrace.quiet"  # in click's `meta`, for all commands
DATABASE = click.Path(dir_okay=False, path_type=Path)
AUDITED = "synthtrace.duckdb"  # in the folder of an audit
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

_COLUMN = 26  # characters of option names in `--help`; longer ones get a line of their own

F = TypeVar("F", bound=Callable[..., Any])


class Help(StrEnum):
    """Groups of options in `--help`, in the order shown."""

    COMMON = "Common options"
    KNOWN = "Labels and patients"
    PREDICTION = "Prediction"
    COMPARISON = "Comparison"
    MATCHING = "Geometric matching"
    VIEWS = "Views"
    INDEX = "Search index"
    DECODING = "Image decoding"
    GENERAL = "General options"


class Option(click.Option):
    """An option with a group in `--help`.

    The environment can set it for one command (``SYNTHTRACE_INDEX_DEVICE``) or for all (``SYNTHTRACE_DEVICE``).
    """

    def __init__(self, *names: Any, group: Help = Help.COMMON, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.group = group

    @property
    def word(self) -> str:
        """``--phash-bits`` as ``phash-bits``."""
        return max(self.opts, key=len).lstrip("-")

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The variable of the command comes first."""
        return super().resolve_envvar_value(ctx) or os.environ.get(f"{PREFIX}_{self.word.upper().replace('-', '_')}") or None


class Command(click.Command):
    """A command whose `--help` lists options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group that has options."""
        sections: dict[Help, list[tuple[str, str]]] = {group: [] for group in Help}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections[getattr(param, "group", Help.GENERAL)].append(record)
        widths = [len(names) for records in sections.values() for names, _ in records]
        column = max((width for width in widths if width <= _COLUMN), default=0)
        for group, records in sections.items():
            if records:
                with formatter.section(group):
                    formatter.write_dl([(names.ljust(column), text) for names, text in records], col_max=_COLUMN)


def command(name: str | None = None) -> Callable[[Callable[..., Any]], Command]:
    """`click.command`, with options in groups."""
    return click.command(name, cls=Command)


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """`click.option`, with defaults shown and the environment asked."""
    return click.option(*names, cls=Option, **{"show_default": True, **settings})


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator from several, shown in this order."""

    def add(command: F) -> F:
        for decorate in reversed(options):
            command = decorate(command)
        return command

    return add


class Pair(click.ParamType[tuple[float, float]]):
    """Two numbers separated by a comma; in TOML a list of two."""

    name = "A,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """The two numbers."""
        try:
            first, second = value if isinstance(value, list | tuple) else value.split(",")
            return float(first), float(second)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not two numbers separated by a comma, such as -600,1500", param, ctx)


class ShareRange(click.ParamType[tuple[float, float]]):
    """A range of shares such as ``0.1-0.9``, or one share."""

    name = "LOW-HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Both ends, the lower one first."""
        if isinstance(value, tuple):
            return value
        try:
            low, high = ([*map(float, str(value).split("-"))] * 2)[:2]
        except ValueError:
            low = high = 0.0
        if not 0 < low <= high < 1 or str(value).count("-") > 1:
            self.fail(f"{value!r} is no range of shares between 0 and 1, such as 0.1-0.9", param, ctx)
        return low, high


class DeviceName(click.ParamType[str]):
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``."""

    name = "auto|cpu|cuda[:N|:all]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it is."""
        if not re.fullmatch(DEVICES, str(value)):
            self.fail(f"{value!r} is not auto, cpu, cuda, cuda:N or cuda:all", param, ctx)
        return str(value)


class GpuMemory(click.ParamType[int]):
    """Bytes, such as ``512M``; see `indexer.gpu_memory`."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        try:
            return gpu_memory.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Destination(click.ParamType[str]):
    """An address that images or vectors are sent to; a file found in the working folder cannot set it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The address as it is."""
        return str(value)


class Delimiter(click.ParamType[str]):
    """What separates the fields of a table; see `query.inputs.tables.TableForm`."""

    name = "CHARACTER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The character."""
        from query.inputs.tables import TableForm

        try:
            return str(TableForm(delimiter=str(value)).delimiter)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Encoding(click.ParamType[str]):
    """A codec of Python's that decodes text."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it is."""
        from query.inputs.tables import TableForm

        try:
            return str(TableForm(encoding=str(value)).encoding)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def database_of(audited: Path) -> Path:
    """The database in the folder of an audit; of any other path the path itself."""
    return audited / AUDITED if audited.is_dir() else audited


class NewFolder(click.Path):
    """A folder that is created if it is missing."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if "://" in str(value):  # else it would become folders of these names
            self.fail(f"{value} is no folder here; index --store copies a collection in shards to an object store", param, ctx)
        return super().convert(value, param, ctx)


class NewFile(click.Path):
    """A file to write, in an existing folder."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        path = Path(str(super().convert(value, param, ctx)))
        if not path.parent.is_dir():
            self.fail(f"{path}: there is no folder {path.parent}", param, ctx)
        return path


class BudgetText(click.ParamType["Budget"]):
    """How much to match; see `query.comparison.matching.Budget`."""

    name = "all|N|TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Budget":
        """The budget."""
        from query.comparison.matching import Budget

        try:
            return value if isinstance(value, Budget) else Budget.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


FOLDER = NewFolder()
