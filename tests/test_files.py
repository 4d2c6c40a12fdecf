"""Files that are written whole or not at all, and the lock of a folder."""

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from indexer.files import FullDisk, Locked, full_disk_named, locked, remove_unfinished, sha256_of, write_atomic

ROOT = Path(__file__).resolve().parent.parent


def test_a_file_is_written_for_its_owner_only_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_atomic(path, lambda file: file.write(b"new") and None)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt(), OSError(errno.EIO, "broken disk")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(error: BaseException, tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(type(error)):
        write_atomic(tmp_path / "f", write)
    assert os.listdir(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_kind_of_full_disk_is_named_with_the_mend(number: int, tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(FullDisk) as caught:
        write_atomic(tmp_path / "f", write)
    assert str(caught.value) == f"no space left in {tmp_path}; free some and run the same command again: it carries on"
    with pytest.raises(FullDisk, match="no space left in elsewhere"), full_disk_named(Path("elsewhere")):
        raise OSError(number, os.strerror(number))


def test_full_disks_are_named_once_and_other_errors_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(FullDisk, match=r"^inner$"), full_disk_named(Path("outer")):
        raise FullDisk("inner")
    with pytest.raises(PermissionError), full_disk_named(Path("outer")):
        raise PermissionError(errno.EACCES, "no")


def test_what_a_killed_write_left_is_removed(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from indexer.files import write_atomic
def write(file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
write_atomic(Path({str(tmp_path)!r}) / "f.x", write)
"""
    (tmp_path / "part-1.safetensors").touch()
    (tmp_path / ".hidden").touch()
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT)
    assert done.returncode == -9
    assert len(os.listdir(tmp_path)) == 3
    remove_unfinished(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden", "part-1.safetensors"]


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
