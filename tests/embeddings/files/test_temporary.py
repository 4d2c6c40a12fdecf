"""Temporary folders: what a killed process left goes, what a living one uses or what is not ours stays."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from embeddings.files.temporary import PREFIX, remove_stale, temporary_folder
from query.cli.group import program
from tests.helpers.places import ROOT

KILLED = """
import os, signal, sys
from pathlib import Path
from embeddings.files.temporary import temporary_folder
with temporary_folder(Path(sys.argv[1]) if len(sys.argv) > 1 else None) as folder:
    (folder / "sub").mkdir()
    (folder / "sub" / "scan.png").write_bytes(b"a patient")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def kill(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=ROOT)
    assert done.returncode == -9


def test_a_folder_is_private_and_goes_with_all_that_is_in_it(tmp: Path) -> None:
    with temporary_folder() as folder:
        assert folder.parent == tmp
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "a").write_bytes(b"a")
        remove_stale()
        assert (folder / "a").exists()
    assert os.listdir(tmp) == []
    with pytest.raises(KeyError), temporary_folder():
        raise KeyError
    assert os.listdir(tmp) == []


@pytest.mark.parametrize("command", [["doctor", "--help"], ["info", "nothing.duckdb"], ["check", "nothing"]])
def test_the_next_command_clears_what_a_killed_one_left(command: list[str], tmp: Path) -> None:
    kill()
    assert len(os.listdir(tmp)) == 1
    with temporary_folder() as living:
        CliRunner().invoke(program, command)
        assert os.listdir(tmp) == [living.name]


def test_a_folder_within_another_clears_that_one(tmp: Path, tmp_path: Path) -> None:
    """As for what `filter --out` makes beside the folder that it writes: it is on the same disk."""
    kill(str(tmp_path))
    assert any(name.startswith(f".{PREFIX}") for name in os.listdir(tmp_path))
    with temporary_folder(tmp_path) as folder:
        assert folder.parent == tmp_path
        assert sorted(os.listdir(tmp_path)) == sorted([folder.name, "tmp"])


def test_a_folder_of_a_living_process_stays(tmp: Path) -> None:
    lines = ["import sys", "from embeddings.files.temporary import *", "with temporary_folder() as f:", " print(f, flush=True)"]
    command = [sys.executable, "-c", "\n".join([*lines, " sys.stdin.read()"])]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as living:
        assert living.stdin is not None
        assert living.stdout is not None
        folder = Path(living.stdout.readline().strip())
        remove_stale()
        assert folder.is_dir()
        living.stdin.close()
        living.wait(timeout=60)
    assert not folder.exists()


def test_nothing_else_is_taken_away(tmp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (tmp / f"{PREFIX}link").symlink_to(elsewhere)
    (tmp / f"{PREFIX}file").touch()
    (tmp / f"{PREFIX}begun").mkdir()  # its process has not locked it yet
    (tmp / "synthtrace-audit").mkdir()  # a user's own
    (tmp / "synthtrace-audit" / "lock").touch()
    (tmp / f"{PREFIX}pipe").mkdir()
    os.mkfifo(tmp / f"{PREFIX}pipe" / "lock")
    (tmp / f"{PREFIX}linked").mkdir()
    (tmp / f"{PREFIX}linked" / "lock").symlink_to(elsewhere / "lock")
    before = sorted(os.listdir(tmp))
    remove_stale()
    assert sorted(os.listdir(tmp)) == before
    assert (elsewhere / "lock").exists()
    (tmp / f"{PREFIX}dead").mkdir()
    (tmp / f"{PREFIX}dead" / "lock").touch()
    (tmp / f"{PREFIX}dead" / "out").symlink_to(elsewhere)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # as if another user's
    remove_stale()
    assert (tmp / f"{PREFIX}dead").exists()
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp))
    remove_stale()
    assert sorted(os.listdir(tmp)) == before
    assert (elsewhere / "lock").exists()


def test_without_a_folder_for_temporary_files_a_command_runs(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    remove_stale()
