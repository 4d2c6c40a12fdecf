"""Common behaviour of all commands: run, print results, show progress, turn errors into one line and an exit code."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

import click

from embeddings.errors import SynthtraceError
from embeddings.files.temporary import remove_stale
from query import terminal
from query.cli.parameters import DEBUG, QUIET
from query.cli.progress import Reporter, reporter
from query.inputs.tables import TableWarning
from query.text import as_json as json_text
from query.text import name

DONE, FINDINGS, USAGE, UNREADABLE, BUG, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 70, 130, 141
SHOWN_FAILURES = 10

_NO_MEMORY = ("can't allocate memory", "Insufficient memory")  # of PyTorch and OpenCV; others raise MemoryError
_REFUSING = ("query.flow", "query.demo", "query.benchmarks.benchmark", "indexer.device")  # their ValueErrors are about options


def error_line(error: BaseException) -> str | None:
    """What the user is told of an error, in one line; None for one that is a bug of ours."""
    if isinstance(error, click.UsageError):
        hint = f"; see {error.ctx.command_path} --help" if error.ctx else ""
        text = f"{error.format_message().rstrip('.')}{hint}"
    elif isinstance(error, click.ClickException):
        text = error.format_message()
    elif isinstance(error, MemoryError) or any(note in str(error) for note in _NO_MEMORY):
        text = "there is not enough memory; end other programs or raise the limit, and run the same command again"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif isinstance(error, (OSError, SynthtraceError)) or _refused(error):
        text = str(error)
    else:
        return None
    return name(" ".join(text.split()))


def _refused(error: BaseException) -> bool:
    """Whether this is a ValueError about what the user asked for; one from deeper down is a bug."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return isinstance(error, ValueError) and bool(frames) and frames[-1][0].f_globals["__name__"] in _REFUSING


class Commands(MutableMapping[str, click.Command]):
    """Commands by name, each imported when it is asked for."""

    def __init__(self) -> None:
        self._places: dict[str, str | click.Command] = {}

    def place(self, name: str, place: str) -> None:
        """Say where a command is: ``file:function`` in `query.cli.commands`."""
        self._places[name] = place

    def __getitem__(self, name: str) -> click.Command:
        found = self._places[name]
        if isinstance(found, str):
            file, _, function = found.partition(":")
            found = self._places[name] = getattr(import_module(f"query.cli.commands.{file}"), function)
        return found

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._places[name] = command

    def __delitem__(self, name: str) -> None:
        del self._places[name]

    def __contains__(self, name: object) -> bool:  # without importing it
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Program(click.Group):
    """The group of all commands: turns errors into one line and an exit code. Commands return theirs."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._placed = Commands()
        self.commands = self._placed
        self._sections: dict[str, Sequence[str]] = {}

    def add_section(self, title: str, commands: Mapping[str, str]) -> None:
        """Add commands, name -> place (`Commands.place`), with a title of their own in `--help`."""
        self._sections[title] = list(commands)
        for called, place in commands.items():
            self._placed.place(called, place)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each title."""
        width = max(map(len, self.commands), default=0)
        for title, names in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(f"{each:<{width}}", self.commands[each].get_short_help_str(90)) for each in names])

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run and end the process."""
        try:
            code: int = super().main(*args, **{**extra, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = USAGE
        except click.Abort:  # interrupted before the command began
            code = INTERRUPTED
        except click.ClickException as error:
            code = _tell(error, False)
        sys.exit(code)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Click's; the help of the program is shown in here."""
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError as error:
            raise click.exceptions.Exit(_close_stdout()) from error

    def invoke(self, ctx: click.Context) -> int:
        """Run the command; its exit code."""
        remove_stale()  # what a killed command left may hold scans
        try:
            with _told(ctx):
                code: int = super().invoke(ctx)
            sys.stdout.flush()
            return code
        except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
            raise
        except BrokenPipeError:  # the reader has seen enough: `| head`
            return _close_stdout()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # who presses Ctrl-C again is heard already
            terminal.say("\nsynthtrace: interrupted; the same command carries on where it stopped")
            return INTERRUPTED
        except Exception as error:
            return _tell(error, ctx.meta.get(DEBUG, False))


@contextmanager
def _told(ctx: click.Context) -> Iterator[None]:
    """Warnings about tables that the user gave become messages, each once."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", TableWarning)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, TableWarning):
                others(message, category, *where, **more)
            elif not ctx.meta.get(QUIET):
                terminal.say(name(str(message)))

        warnings.showwarning = show
        yield


def _close_stdout() -> int:
    """Nobody reads any more: let Python not complain of that when it ends. The exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def _tell(error: Exception, debug: bool) -> int:
    """Say what went wrong; the exit code."""
    line = error_line(error)
    if debug or line is None:
        terminal.say_traceback(error)
    if line is None:
        terminal.say("synthtrace: this is a bug, please report it with the lines above")
        return BUG
    terminal.say(f"synthtrace: error: {line}")
    return USAGE


@contextmanager
def working() -> Iterator[Reporter]:
    """Show progress for as long as it lasts."""
    meta = click.get_current_context().meta
    with reporter(meta[QUIET]) as report:
        yield report


def exit_code(failed: int, findings: int = 0) -> int:
    """Images that could not be read count more than findings."""
    return UNREADABLE if failed else FINDINGS if findings else DONE


def list_failures(failures: Sequence[tuple[str, str]], where: str) -> None:
    """The first images that could not be read, and where the others stand."""
    for path, reason in failures[:SHOWN_FAILURES]:
        terminal.say(f"cannot read {name(path)}: {name(reason)}")
    if len(failures) > SHOWN_FAILURES:
        terminal.say(f"and {len(failures) - SHOWN_FAILURES:,} more; see {name(where)}")


def list_notes(found: Sequence[tuple[str, str]], where: str) -> None:
    """The first images that were read although something was wrong with them, and where the others stand."""
    for path, note in found[:SHOWN_FAILURES]:
        terminal.say(f"read with a note: {name(path)}: {name(note)}")
    if len(found) > SHOWN_FAILURES:
        terminal.say(f"and {len(found) - SHOWN_FAILURES:,} more with notes; see {name(where)}")


def show(result: object, as_json: bool, text: str) -> None:
    """The result on standard output."""
    terminal.out(json_text(result) if as_json else text)
