"""Executor on Ray: each piece of work is a task, on this machine or on a cluster. Only this file imports ray.

Ray runs what it is sent, so nobody else may reach it: local sessions listen on the loopback interface alone, without a dashboard,
and every request carries a token. File names can name patients: whatever a task prints goes nowhere, errors come back as answers
(Ray would log those that are raised), and the command line is not told to Ray.
"""

import logging
import os
import pickle
import secrets
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Generic

from embeddings.extras import installing
from embeddings.files.temporary import temporary_folder
from embeddings.pipeline import use_cores, workers
from indexer.execution.executor import (
    ONE_CORE,
    ExecutionError,
    Executor,
    Item,
    Outcome,
    Resources,
    Result,
    Shared,
    Value,
    WorkLost,
    attempt,
)

LOCAL = "local"
RETRIES = 5  # of a task whose process or machine was lost
AHEAD = 4  # tasks begun or waiting for each that can run: a slow one does not soon hold up the others
_SAFE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_DISABLE_DASHBOARD_LOG_INFO": "1",
    "RAY_task_oom_retries": str(RETRIES),  # else without end
}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # Ray's switch for one machine alone: it binds to 127.0.0.1


@dataclass(frozen=True)
class _Sent(Generic[Value]):
    """A value in Ray's object store."""

    reference: Any

    @property
    def value(self) -> Value:
        """See `Shared.value`."""
        import ray

        value: Value = ray.get(self.reference)
        return value


class OnRay(Executor):
    """Tasks on Ray.

    Args:
        address: ``local`` for a session of one's own on this machine, which ends with this object; else HOST:PORT of a cluster
            that runs and whose token is in RAY_AUTH_TOKEN, in the file RAY_AUTH_TOKEN_PATH, or in ``~/.ray/auth_token``.

    Raises:
        ExecutionError: Ray is not installed, no cluster answers, or the address is none.
    """

    def __init__(self, address: str = LOCAL) -> None:
        self._ends, self._address = ExitStack(), address
        if address != LOCAL:
            _look_for(address)
        settings = {**_SAFE, **(_LOOPBACK if address == LOCAL else {})}
        if sys.modules.get("ray") and not settings.items() <= os.environ.items():
            given = " ".join(f"{name}={value}" for name, value in settings.items())
            raise ExecutionError(f"Ray was imported before these were set, and reads them no more: {given}")
        os.environ.update(settings)
        if address == LOCAL:
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        try:
            import ray
        except ImportError as error:
            raise ExecutionError(f"--ray needs Ray: {installing('distributed')}") from error
        if ray.is_initialized():
            raise ExecutionError("this process is connected to Ray already; end that first (ray.shutdown())")
        try:
            self._start(address)
        except BaseException:
            self.close()
            raise
        self._task = ray.remote(_answer)

    def _start(self, address: str) -> None:
        import ray
        from ray.exceptions import RayError

        where: dict[str, Any] = {"address": address}
        if address == LOCAL:
            # one level down: Ray lets everybody into the folder that it is given; a short name: paths of sockets are short
            folder = self._ends.enter_context(temporary_folder()) / "r"
            where |= {"num_cpus": workers(), "include_dashboard": False, "_temp_dir": str(folder)}
        try:
            with _without_command_line():
                ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **where)
        except (RayError, ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
            reason = str(error).partition("\n")[0].partition(". ")[0]
            raise ExecutionError(f"--ray {address}: Ray cannot be used ({reason}); see its address and token") from error
        self._ends.callback(ray.shutdown)

    @property
    def here(self) -> bool:
        """See `Executor.here`."""
        return False

    @property
    def note(self) -> str:
        """See `Executor.note`."""
        import ray

        there = ray.cluster_resources()
        gpus = f", {there['GPU']:.0f} GPUs" if there.get("GPU") else ""
        machines = len([node for node in ray.nodes() if node["Alive"]])
        return f"working on Ray ({self._address}): {there.get('CPU', 0):.0f} cores{gpus} of {machines} machines"

    @property
    def gpus(self) -> float:
        """See `Executor.gpus`."""
        import ray

        return float(ray.cluster_resources().get("GPU", 0))

    def outcomes(
        self, work: Callable[[Item], Result], items: Iterable[Item], *, resources: Resources = ONE_CORE
    ) -> Generator[Outcome[Result], None, None]:
        """See `Executor.outcomes`."""
        import ray

        needs: dict[str, Any] = {"num_cpus": resources.cores, "num_gpus": resources.gpus}
        if resources.memory:
            needs["memory"] = resources.memory
        task = self._task.options(max_retries=RETRIES, **needs)
        sent, flying = ray.put((work, resources.cores)), deque[Any]()
        try:
            for item in items:
                flying.append(task.remote(sent, item))
                if len(flying) >= AHEAD * self._at_once(resources):
                    yield _taken(flying.popleft())
            while flying:
                yield _taken(flying.popleft())
        finally:
            for reference in flying:
                ray.cancel(reference)

    def _at_once(self, resources: Resources) -> int:
        """Pieces of work that can run at the same time now: machines come and go.

        Raises:
            ExecutionError: none, however long one waits.
        """
        import ray

        there = ray.cluster_resources()
        wanted = {"CPU": resources.cores, "GPU": resources.gpus, "memory": resources.memory}
        fitting = min(there.get(name, 0) // amount for name, amount in wanted.items() if amount)
        if fitting < 1:
            has = Resources(max(int(there.get("CPU", 0)), 1), there.get("GPU", 0), int(there.get("memory", 0)))
            raise ExecutionError(f"Ray ({self._address}) has {has}; one piece of work needs {resources}")
        return int(fitting)

    def share(self, value: Value) -> Shared[Value]:
        """See `Executor.share`."""
        import ray

        return _Sent(ray.put(value))

    def close(self) -> None:
        """Leave the cluster; end the local session and delete its folder."""
        self._ends.close()


def executor(address: str | None) -> Executor:
    """Where work is done: in this process where no address is given, else on Ray.

    ``with executor("local") as ray: index_shards("generated/", "generated.shards", executor=ray)``

    Args:
        address: None, ``local``, or HOST:PORT of a cluster, see `OnRay`.

    Raises:
        ExecutionError: see `OnRay`.
    """
    from indexer.execution.in_process import InProcess

    return OnRay(address) if address else InProcess()


@contextmanager
def on_ray(address: str | None) -> Iterator[Executor | None]:
    """Tasks on Ray where an address is given, else nobody: for work that one thread may as well do by itself.

    Raises:
        ExecutionError: see `OnRay`.
    """
    if address is None:
        yield None
    else:
        with OnRay(address) as ray:
            yield ray


def _look_for(address: str) -> None:
    """Refuse an address where nobody listens: Ray would try it for minutes.

    Raises:
        ExecutionError: it is none, or does not answer.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise ExecutionError(f"--ray {address}: name the cluster as HOST:PORT, or say local")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise ExecutionError(f"--ray {address}: no cluster answers there ({error})") from error


def _answer(sent: tuple[Callable[[Any], Any], int], item: Any) -> Outcome[Any]:
    """The task: silent, and with as many threads as it has cores."""
    work, cores = sent
    with _silent(), use_cores(cores):
        outcome = attempt(work, item)
    return outcome if outcome.error is None else Outcome(error=_portable(outcome.error))


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same where it cannot be sent; where it came from stands in its notes."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:
        pass
    told = RuntimeError(f"{type(error).__name__}: {error}")
    told.add_note(error.__notes__[-1])
    return told


def _taken(reference: Any) -> Outcome[Any]:
    """The answer of a task, waited for."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        outcome: Outcome[Any] = ray.get(reference)
        return outcome
    except RayTaskError as error:  # before the work began: what was sent cannot be read there
        return Outcome(error=error)
    except RayError as error:
        return Outcome(error=WorkLost(f"the process that did this work was lost again and again (Ray: {type(error).__name__})"))


@contextmanager
def _silent() -> Iterator[None]:
    """What is printed here, by libraries too, does not go to Ray's logs."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, there in enumerate(kept, 1):
            os.dup2(there, number)
            os.close(there)
        os.close(nowhere)


@contextmanager
def _without_command_line() -> Iterator[None]:
    """Ray keeps the command line of whoever connects, and shows it to all; it can name patients' folders."""
    from ray._private import utils

    theirs = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: "synthtrace"
    try:
        yield
    finally:
        utils.get_entrypoint_name = theirs
