"""Shards made as tasks on Ray: the same bytes as in this process, also where a process is killed, and no name in Ray's files."""

import importlib.util
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from indexer.execution.on_ray import OnRay
from indexer.sharded.build import Sharding, index_shards
from tests.helpers.making import QUICK, write_images

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: synthtrace[distributed]"),
]
PATIENT = "Mustermann-Erika"


def tasks_below(top: int) -> list[int]:
    """Processes of Ray that do a piece of work, and descend from one."""
    parents, tasks = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (folder / "cmdline").read_bytes().startswith(b"ray::_answer"):
                tasks.append(int(folder.name))

    def descends(number: int) -> bool:
        return number == top or (number in parents and descends(parents[number]))

    return [number for number in tasks if descends(number)]


def test_the_same_bytes_though_a_process_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHTRACE_SALT", "the same for both runs")
    images, sharding = tmp_path / f"patient {PATIENT}", Sharding(size=12, device="cpu")
    write_images(images, range(60))
    (images / f"{PATIENT}.png").write_bytes(b"no image")
    here = index_shards(images, tmp_path / "here", settings=QUICK, sharding=sharding)
    killed: list[int] = []

    def kill_one() -> None:
        ends = time.monotonic() + 60
        while not killed and time.monotonic() < ends:
            for number in tasks_below(os.getpid())[:1]:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
                    killed.append(number)
            time.sleep(0.05)

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "indexing shards" and not killer.ident:
            killer.start()

    killer = threading.Thread(target=kill_one)
    with OnRay() as ray:
        there = index_shards(images, tmp_path / "there", settings=QUICK, sharding=sharding, executor=ray, progress=progress)
        killer.join()
        from ray._private.worker import global_worker

        assert global_worker.node is not None
        session = Path(global_worker.node.get_session_dir_path())
        files = [path for path in session.rglob("*") if path.is_file()]
        assert [path for path in files if PATIENT.encode() in path.read_bytes()] == []
    assert len(killed) == 1
    assert there.check() == []
    assert there.manifest.failed == 1
    assert there.manifest.fingerprint == here.manifest.fingerprint
    assert not session.exists()
