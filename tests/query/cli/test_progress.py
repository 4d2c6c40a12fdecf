import io
import sys

import pytest

from query.cli.progress import Bars, Lines, Reporter, duration, reporter


class Clock:
    """Time that passes when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, errors = capsys.readouterr()
    assert out == ""
    return errors.splitlines()


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What stands in for standard error: a terminal of 100 columns."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return terminal


def test_lines_come_every_five_seconds_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines(clock)
    for second in range(13):
        clock.now = second
        lines("embedding", 100 * (second + 1), 1300)
    assert lines_of(capsys) == [
        "embedding: 600 of 1,300 (100/s, 7 s left)",
        "embedding: 1,100 of 1,300 (100/s, 2 s left)",
        "embedding: 1,300 of 1,300 (100/s)",
    ]


def test_what_an_earlier_run_did_does_not_count_for_the_rate(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines(clock)
    lines("embedding", 9000, 10000)
    clock.now = 10.0
    lines("embedding", 9500, 10000)
    assert lines_of(capsys) == ["embedding: 9,500 of 10,000 (50/s, 10 s left)"]


def test_a_new_stage_and_a_stage_again_begin_anew(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines(clock)
    for stage, done in (("hashing", 5), ("embedding", 20), ("embedding", 20), ("embedding", 3), ("embedding", 20)):
        clock.now += 0.5
        lines(stage, done, 20)
    assert lines_of(capsys) == ["embedding: 20 of 20"] * 3


def test_messages_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    Lines().say("a\x1b[2Jb")
    Bars().say("[bold]a\x1b[2Jb[/bold]")
    assert lines_of(capsys) == [r"a\x1b[2Jb", r"[bold]a\x1b[2Jb[/bold]"]


def test_the_reporter_fits_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(reporter(quiet=True)) is Reporter
    assert type(reporter(quiet=False)) is Lines
    on_a_terminal(monkeypatch)
    assert type(reporter(quiet=False)) is Bars
    monkeypatch.setenv("TERM", "dumb")
    assert type(reporter(quiet=False)) is Lines


def test_bars_show_every_stage_and_leave_the_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with Bars() as bars:
        for stage in ("hashing", "embedding", "hashing"):
            bars(stage, 50, 100)
            bars(stage, 100, 100)
        bars.say("[said] between")
    text = terminal.getvalue()
    last = text[text.rindex("hashing") - 400 :]
    assert "[said] between" in text
    assert "embedding" in last
    assert "100/100" in last
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is hidden and shown again


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (3600, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_stage_with_a_limit_never_has_more_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines(clock)
    for second in range(0, 121, 6):
        clock.now = second
        lines.limit(120.7 - second)
        lines("comparing pairs", 20 + 10 * second, 10_000)
    clock.now = 126.0
    lines("comparing pairs", 1300, 10_000)
    *limited, unlimited = lines_of(capsys)
    assert limited[0] == "comparing pairs: 80 of 10,000 (10/s, at most 1 min 54 s left)"
    assert limited[-1] == "comparing pairs: 1,220 of 10,000 (10/s, at most 0 s left)"
    assert all("at most" in line for line in limited)
    assert "at most" not in unlimited


def test_a_bar_with_a_limit_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with Bars() as bars:
        for done in (1, 2, 3):
            bars.limit(0)
            bars("comparing pairs", done, 100_000)
    assert "at most 0 s" in terminal.getvalue()
