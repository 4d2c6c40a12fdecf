r"""Write to standard output and standard error: the only place that does.

What is written has every hidden character as an escape (`embeddings.files.characters`): names of files, and whatever else comes
from outside, must neither drive a terminal nor turn text round. Ends of lines stay: who puts a name into a line escapes those
that it holds with `query.text.name`.
"""

import logging
import shutil
import sys
import traceback
from typing import BinaryIO

from query.text import shown

LOGGING = {  # of a service: errors only, which may quote what was sent
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"visible": {"()": "query.terminal.Visible"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "visible", "stream": "ext://sys.stderr"}},
    "root": {"handlers": ["stderr"], "level": "ERROR"},
}


class Visible(logging.Formatter):
    """Lines of a log without hidden characters."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback where there is one."""
        return shown(super().format(record))


def prepare() -> None:
    """What a terminal's encoding does not know is escaped too, instead of being an error."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def out(text: str) -> None:
    """Write a result."""
    print(shown(text), flush=True)


def send(file: BinaryIO) -> None:
    """Write a file's bytes as a result: they were made fit by whoever wrote the file."""
    sys.stdout.flush()
    shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """Write what is no result: messages, errors."""
    print(shown(text), file=sys.stderr, flush=True)


def say_traceback(error: BaseException) -> None:
    """Write where an error came from."""
    say("".join(traceback.format_exception(error)).rstrip("\n"))
