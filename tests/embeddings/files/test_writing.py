"""Files that are written whole or not at all, and the lock of a folder."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.files import Locked, locked, sha256_of
from tests.helpers.places import ROOT


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_sha256_is_that_of_all_bytes(size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    (tmp_path / "f").write_bytes(content)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(content).hexdigest()


def test_a_folder_is_locked_for_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(Locked, match=f"{tmp_path} is in use by another process"), locked(tmp_path):
            pass
        program = f"from indexer.files import *\nfrom pathlib import Path\nwith locked(Path({str(tmp_path)!r})): pass"
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
        assert "Locked" in done.stderr
    with locked(tmp_path):
        pass


def test_a_killed_process_frees_its_lock(tmp_path: Path) -> None:
    program = f"""
import os, signal
from indexer.files import *
with locked(Path({str(tmp_path)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == -9
    with locked(tmp_path):
        pass
