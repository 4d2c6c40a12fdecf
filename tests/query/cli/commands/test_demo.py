"""Command `demo`: what comes first, and whether the commands that it ends with work when pasted."""

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner, Result

import query.demo
from query.cli.group import program
from query.cli.output.next_steps import called
from query.demo import DemoSize

SMALL = ["--generated", "12", "--real", "4", "--view", "phash", "--match", "0"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(program, arguments)


def pasted(text: str) -> list[list[str]]:
    """The commands shown, without the program they begin with."""
    lines = [line.strip() for line in text.partition("Next, each line")[2].splitlines() if line.startswith("    ")]
    return [shlex.split(line.removeprefix(called()).strip()) for line in lines]


@pytest.mark.slow
def test_what_it_ends_with_works_when_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("demo", "--out", "it's here", *SMALL)
    assert done.exit_code == 0, done.stderr
    (address,) = re.findall(r"^Report: (file://.*)$", done.stdout, re.MULTILINE)
    assert "<html" in Path(unquote(urlsplit(address).path)).read_text(encoding="utf-8")
    serve, sql, audit = pasted(done.stdout)
    assert run(*sql).exit_code == 0
    assert run(*audit, "--view", "phash", "--match", "0").exit_code == 0
    context = program.commands["serve"].make_context("serve", serve[1:])  # refuses options and folders that are not there
    assert Path(context.params["db"]).is_file()


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, DemoSize]]:
    """The demos that were run, none of which draws anything."""
    ran: list[tuple[Path, DemoSize]] = []

    def nothing(out: Path, size: DemoSize, *_: Any, **__: Any) -> Any:
        ran.append((out, size))
        return SimpleNamespace(summary=f"found {len(ran)}", failed=0, findings=0, as_dict=lambda: {"found": len(ran)})

    monkeypatch.setattr(query.demo, "demo", nothing)
    return ran


def test_a_small_one_comes_first_unless_a_size_is_asked_for(tmp_path: Path, sizes: list[tuple[Path, DemoSize]]) -> None:
    out = tmp_path / "demo"
    told = run("demo", "--out", str(out))
    assert sizes == [(out / "first", DemoSize(1_000, 100)), (out, DemoSize(10_000, 200))]
    assert told.stdout.index("found 1") < told.stdout.index("first/report.html") < told.stdout.index("found 2")
    sizes.clear()
    assert json.loads(run("demo", "--out", str(out), "--json").stdout) == {"found": 1}
    run("demo", "--out", str(out), "--generated", "50", "--seed", "3")
    assert sizes == [(out, DemoSize(10_000, 200)), (out, DemoSize(50, 200, 3))]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (lambda folder: folder / "bin" / "synthtrace", "synthtrace"),
        (lambda folder: folder / "other place" / "synthtrace", "'{}/other place/synthtrace'"),
        (lambda folder: folder / "query" / "cli" / "main.py", f"{shlex.quote(sys.executable)} -m query.cli.main"),
    ],
    ids=["on PATH", "elsewhere", "as a module"],
)
def test_commands_name_the_program_that_runs(
    argv: Callable[[Path], Path], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("bin", "other place"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "synthtrace").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "argv", [str(argv(tmp_path))])
    assert called() == expected.format(tmp_path)
