"""Progress on standard error: a bar on a terminal, else a line every few seconds."""

import math
import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from query import terminal
from query.text import name

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVERY = 5.0  # seconds between two lines


class Reporter:
    """Says nothing; its two subclasses do. A context manager, to be left before results are printed.

    An instance is called with stage, images done and images in all, as `indexer.build.build.Progress`.
    """

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of progress."""

    def limit(self, seconds: float) -> None:
        """The stage that is told of next ends after so long, whatever is done by then."""

    def say(self, message: str) -> None:
        """Show one line."""

    def close(self) -> None:
        """Take away what is in motion."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def reporter(quiet: bool) -> Reporter:
    """The one that fits standard error."""
    if quiet:
        return Reporter()
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Bars()
    return Lines()


class Lines(Reporter):
    """A line when a stage ends, and every `EVERY` seconds before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage, self._done = "", 0
        self._began, self._at_first, self._said = 0.0, 0, 0.0
        self._ends = math.inf

    def limit(self, seconds: float) -> None:
        """See there."""
        self._ends = self._clock() + max(seconds, 0)

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self._clock()
        if stage != self._stage or done < self._done:
            self._stage, self._began, self._at_first, self._said = stage, now, done, now
        self._done = done
        if done >= total or now - self._said >= EVERY:
            self._said = now
            self.say(f"{stage}: {done:,} of {total:,}{self._pace(now, total)}")
        self._ends = math.inf

    def _pace(self, now: float, total: int) -> str:
        """Rate and time left, once there is something to tell them by; what an earlier run did is not counted."""
        seconds, images = now - self._began, self._done - self._at_first
        if seconds < 1 or images < 10:  # a stage of few steps, or one that has just begun
            return ""
        rate = images / seconds
        left, limit = (total - self._done) / rate, max(self._ends - now, 0)
        shown = f"{duration(left)} left" if left <= limit else f"at most {duration(math.floor(limit))} left"
        return f" ({rate:,.0f}/s, {shown})" if self._done < total else f" ({rate:,.0f}/s)"

    def say(self, message: str) -> None:
        """Show one line."""
        terminal.say(name(message))


class Bars(Reporter):
    """One bar for each stage, with rate and time left; needs a terminal."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._stage, self._done = "", 0
        self._left = math.inf

    def limit(self, seconds: float) -> None:
        """See there."""
        self._left = max(seconds, 0)

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._bars is None:
            self._bars = _bars()
            self._bars.start()
        if self._task is None or stage != self._stage or done < self._done:
            self._task = self._bars.add_task(stage, total=total, rate="", limit=math.inf)
        self._stage, self._done = stage, done
        speed = self._bars.tasks[-1].speed
        rate = f"{speed:,.0f}/s" if speed else ""
        self._bars.update(self._task, completed=done, total=total, rate=rate, limit=time.monotonic() + self._left)
        self._left = math.inf

    def say(self, message: str) -> None:
        """Show one line, above the bars."""
        if self._bars is None:
            terminal.say(name(message))
        else:
            self._bars.console.print(name(message), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Stop moving; the bars stay where they are."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = self._task = None


def _bars() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Left(TimeRemainingColumn):
        """Never more than a stage may take."""

        def render(self, task: Task) -> Text:
            limit = max(task.fields["limit"] - time.monotonic(), 0)
            if task.finished or limit == math.inf or (task.time_remaining or 0) <= limit:
                return super().render(task)
            return Text(f"at most {duration(math.floor(limit))}", style="progress.remaining")

    rate = TextColumn("{task.fields[rate]}", justify="right")
    left = Left(elapsed_when_finished=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, left)
    return Progress(*columns, console=Console(stderr=True))


def duration(seconds: float) -> str:
    """``40 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
