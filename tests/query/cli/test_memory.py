"""Whether there is memory for a command: limits, control groups, and what is said."""

import resource
import subprocess
import sys
from pathlib import Path

import cv2
import pyarrow as pa
import pytest

from query.cli import memory
from query.cli.program import error_line
from tests.helpers.making import write_images
from tests.helpers.places import ROOT


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc and a /sys/fs/cgroup: 3,000 MB free, and a group inside another without limits."""
    (tmp_path / "self").mkdir()
    (tmp_path / "meminfo").write_text("MemFree: 1 kB\nMemAvailable:  3072000 kB\n")
    (tmp_path / "self" / "cgroup").write_text("0::/outer/inner\n")
    (tmp_path / "self" / "status").write_text("VmSize: 102400 kB\nVmData: 51200 kB\n")
    for group in ("outer", "outer/inner"):
        (tmp_path / group).mkdir()
        (tmp_path / group / "memory.max").write_text("max\n")
        (tmp_path / group / "memory.current").write_text(f"{100 << 20}\n")
        (tmp_path / group / "memory.stat").write_text(f"anon 5\ninactive_file {30 << 20}\n")
    monkeypatch.setattr(memory, "PROC", tmp_path)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY,) * 2)
    return tmp_path


def test_the_machine_says_how_much_is_free(kernel: Path) -> None:
    assert memory.available() == 3000 << 20
    assert memory.space() is None


@pytest.mark.parametrize("group", ["outer", "outer/inner"])
def test_every_control_group_above_counts_and_cached_files_are_free(kernel: Path, group: str) -> None:
    (kernel / group / "memory.max").write_text(f"{500 << 20}\n")
    assert memory.available() == (500 - 100 + 30) << 20


def test_limits_of_the_process_count_less_what_it_has(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {resource.RLIMIT_AS: 1000 << 20, resource.RLIMIT_DATA: 700 << 20}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], resource.RLIM_INFINITY))
    assert memory.available() == (700 - 50) << 20
    assert memory.space() == (1000 - 100) << 20


def test_nothing_is_refused_where_nobody_says_how_much_there_is(kernel: Path) -> None:
    (kernel / "meminfo").unlink()
    (kernel / "self" / "cgroup").unlink()
    memory.check("index", {})


@pytest.mark.parametrize("command", ["index", "audit", "demo", "train", "predict", "serve"])
def test_commands_with_a_network_need_more_than_there_is(kernel: Path, command: str) -> None:
    (kernel / "meminfo").write_text("MemAvailable: 614400 kB\n")
    with pytest.raises(memory.NotEnoughMemory, match=f"^{command} needs at least 800 MB of free memory, and there are 600 MB; "):
        memory.check(command, {})
    memory.check("index", {"view": ("phash",)})
    memory.check("compare", {})


@pytest.mark.parametrize("limit", [700, 1000])
def test_a_command_short_of_memory_ends_with_one_line(tmp_path: Path, limit: int) -> None:
    write_images(tmp_path / "images", range(2))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit << 20, limit << 20))

    arguments: list[str | Path] = ["index", tmp_path / "images", "--out", tmp_path / "c"]
    command = [sys.executable, "-m", "query.cli.main", *arguments]
    done = subprocess.run(command, cwd=ROOT, preexec_fn=limited, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("synthtrace: error: index needs at least 2,600 MB of address space (ulimit -v), and there are ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        pa.ArrowMemoryError("malloc of size 64 failed"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        cv2.error("OpenCV(5.0.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes"),
    ],
    ids=["Python", "Arrow", "PyTorch", "OpenCV"],
)
def test_memory_that_runs_out_on_the_way_is_no_bug(error: Exception) -> None:
    line = error_line(error)
    assert line is not None
    assert "not enough memory" in line
