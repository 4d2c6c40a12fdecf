"""Executors: the same results in the same order, in this process and on Ray; lost work is done again, errors are answers."""

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from indexer.execution.executor import ExecutionError, Executor, Resources, WorkLost
from indexer.execution.in_process import InProcess
from indexer.execution.on_ray import OnRay, executor
from tests.helpers import work
from tests.helpers.places import ROOT
from tests.helpers.work import Refused

NAME = "Mustermann^Erika"


def skip_without_ray() -> None:
    """Without importing it: its settings come first."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: synthtrace[distributed]")


@pytest.fixture(scope="module")
def session() -> Iterator[Executor]:
    skip_without_ray()
    with OnRay() as ray:
        yield ray


@pytest.fixture(params=["in process", pytest.param("on ray", marks=pytest.mark.slow)])
def each(request: pytest.FixtureRequest) -> Executor:
    return InProcess() if request.param == "in process" else request.getfixturevalue("session")


def test_results_come_in_the_order_of_the_items(each: Executor) -> None:
    assert list(each.map(work.square, range(40))) == [number * number for number in range(40)]
    assert list(each.map(work.square, range(7), resources=Resources(alone=True))) == [n * n for n in range(7)]
    assert list(each.map(work.square, [])) == []


def test_an_error_is_an_answer_and_the_others_are_done(each: Executor) -> None:
    outcomes = list(each.outcomes(work.refuse_three, range(6)))
    assert [outcome.value for outcome in outcomes] == [0, 1, 2, None, 4, 5]
    assert isinstance(outcomes[3].error, Refused)
    assert str(outcomes[3].error) == "three cannot be done"
    results = each.map(work.refuse_three, range(6))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Refused, match="three cannot be done"):
        next(results)


def test_a_shared_value_reaches_all_work(each: Executor) -> None:
    shared = each.share(np.arange(100_000, dtype=np.float64))
    total = 99_999 * 100_000 / 2
    assert list(each.map(partial(work.scaled, shared), range(4))) == [total * number for number in range(4)]


def test_items_are_taken_as_they_are_needed(each: Executor) -> None:
    """A stream without end can be mapped, and closed in the middle."""
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            yield taken
            taken += 1

    with closing(each.map(work.refuse_three, endless())) as results:
        assert next(results) == 0
    assert taken < 200


@pytest.mark.slow
def test_work_on_ray_has_the_cores_it_asked_for(session: Executor) -> None:
    assert set(session.map(work.cores, range(4))) == {1}


@pytest.mark.slow
def test_lost_processes_cost_a_repetition(session: Executor, tmp_path: Path) -> None:
    assert list(session.map(partial(work.killed_at_first, str(tmp_path)), range(6))) == list(range(6))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2", "4"]


@pytest.mark.slow
def test_work_that_ends_every_process_is_given_up_alone(session: Executor) -> None:
    outcomes = list(session.outcomes(work.killed_always, range(3)))
    assert [outcome.value for outcome in outcomes] == [0, None, 2]
    assert isinstance(outcomes[1].error, WorkLost)


@pytest.mark.slow
def test_what_no_machine_has_is_refused(session: Executor) -> None:
    with pytest.raises(ExecutionError, match="needs"):
        list(session.map(work.square, range(2), resources=Resources(cores=10_000)))


@pytest.mark.slow
def test_names_stay_out_of_the_files_of_ray(session: Executor) -> None:
    outcomes = list(session.outcomes(work.tell_a_name, [NAME] * 3))
    assert all(isinstance(outcome.error, FileNotFoundError) for outcome in outcomes)
    import ray
    from ray._private.worker import global_worker

    assert global_worker.node is not None
    folder = Path(global_worker.node.get_session_dir_path())
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if NAME.encode() in path.read_bytes()] == []
    assert folder.parents[1].stat().st_mode & 0o777 == 0o700
    (job,) = ray._private.state.jobs()
    assert job["Entrypoint"] == "synthtrace"


@pytest.mark.slow
def test_ray_listens_on_the_loopback_interface_alone(session: Executor) -> None:
    """All sockets that listen, of processes with the session's token, as the system says (/proc/net/tcp)."""
    token = os.environ["RAY_AUTH_TOKEN"].encode()
    inodes = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if token in (process / "environ").read_bytes() or int(process.name) == os.getpid():
                inodes |= {os.readlink(link)[8:-1] for link in (process / "fd").iterdir() if "socket:" in os.readlink(link)}
        except OSError:
            continue
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    listening = [line[1] for line in lines if line[3] == "0A" and line[9] in inodes]
    assert len(listening) >= 4
    loopback = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
    assert [address for address in listening if address.split(":")[0] not in loopback] == []


@pytest.mark.parametrize("address", ["ray://somewhere:10001", "somewhere", "somewhere:x", ":1"])
def test_an_address_must_be_one(address: str) -> None:
    with pytest.raises(ExecutionError, match="name the cluster as HOST:PORT"):
        OnRay(address)


def test_a_cluster_must_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ExecutionError, match="no cluster answers there"):
        OnRay(f"127.0.0.1:{port}")


def test_a_cluster_needs_a_token(tmp_path: Path) -> None:
    """In a process of its own: one that has been on Ray keeps its token."""
    skip_without_ray()
    program = "import sys; from indexer.execution.on_ray import OnRay; OnRay(sys.argv[1])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        command = [sys.executable, "-c", program, address]
        done = subprocess.run(command, cwd=ROOT, env={**environment, "HOME": str(tmp_path)}, capture_output=True, text=True)
    assert f"ExecutionError: --ray {address}: Ray cannot be used (Token authentication is enabled but no" in done.stderr


def test_without_ray_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutionError, match=r"pip install '\.\[distributed\]' in the project folder"):
        executor("local")
    assert isinstance(executor(None), InProcess)
