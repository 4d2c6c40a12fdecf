"""Target of the attacks: a fresh small audit of drawn slices, its commands and services."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-P", "-c", "from query.cli.main import main; main()"]
VIEWS = ("--view", "phash", "--view", "pixels")  # a small mapped file and a larger one, and no network to load
TRACEBACK = b"Traceback (most recent call last)"
LATE = 124  # the exit code that stands for a command that did not end


@dataclass(frozen=True)
class Target:
    """A folder that holds `audit` (images, collections, database, report) and is thrown away afterwards.

    Attributes:
        folder: all of it; attacks work in folders of their own below.
        seed: of everything that is drawn.
        quick: few attempts, to see that the attacks work.
    """

    folder: Path
    seed: int = 0
    quick: bool = False

    @property
    def audit(self) -> Path:
        """The audit; attacks copy what they change."""
        return self.folder / "audit"

    @property
    def real(self) -> Path:
        """Real images."""
        return self.audit / "slices" / "real"

    @property
    def first(self) -> Path:
        """One of them."""
        return sorted(self.real.iterdir())[0]

    @property
    def generated(self) -> Path:
        """Generated images."""
        return self.audit / "slices" / "generated"

    @property
    def labels(self) -> Path:
        """What is known of the real images, and their patients."""
        return self.audit / "slices" / "labels.csv"

    @property
    def database(self) -> Path:
        """Its run."""
        return self.audit / "synthtrace.duckdb"

    def make(self) -> None:
        """Draw the slices and audit them."""
        sizes = ["--generated", "30" if self.quick else "60", "--real", "20" if self.quick else "24"]
        done = self.run("demo", "--out", self.audit, *sizes, *VIEWS, "--match", "0", timeout=600)
        if done.returncode:
            raise RuntimeError(f"no audit to attack: {done.stderr.decode(errors='replace')[-500:]}")

    def room(self, name: str) -> Path:
        """An empty folder for one attempt."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def environment(self, temporary: Path | None = None, **more: str) -> dict[str, str]:
        """Without what the user set for synthtrace, and with a folder for temporary files that can be looked into."""
        temp = temporary or self.folder / "tmp"
        temp.mkdir(parents=True, exist_ok=True)
        own = {name: value for name, value in os.environ.items() if not name.startswith("SYNTHTRACE_")}
        return {**own, "PYTHONPATH": str(ROOT), "TMPDIR": str(temp), **more}

    def start(
        self, *arguments: object, temporary: Path | None = None, cwd: Path | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """A command in a session of its own, so that all of its processes can be ended."""
        return subprocess.Popen(
            [*COMMAND, *map(os.fsencode, map(_path, arguments))],
            env=self.environment(temporary, **options.pop("env", {})),
            cwd=cwd or self.folder,
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    def run(self, *arguments: object, timeout: float = 180, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """A command until it ends; one that does not has exit code 124."""
        process = self.start(*arguments, **options)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            end(process)
            return subprocess.CompletedProcess(process.args, LATE, b"", b"it did not end")
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @contextmanager
    def serving(self, collection: Path, database: Path, *options: object, ready: bool = True, **more: Any) -> Iterator["Service"]:
        """A service over a collection and a database, ended afterwards.

        Raises:
            RuntimeError: it did not start.
        """
        log = database.with_suffix(f".{time.monotonic_ns()}.log")
        with open(log, "wb") as stderr:
            process = self.start(
                "serve", collection, "--db", database, "--port", "0", *options, stdout=stderr, stderr=stderr, **more
            )
        try:
            service = Service(process, _port(process, log), log)
            if ready:
                service.wait()
            yield service
        finally:
            end(process, signal.SIGTERM)


@dataclass(frozen=True)
class Answer:
    """What a service said; status 0 where it said nothing."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None

    def json(self) -> Any:
        """The body, or None where it is no JSON."""
        with suppress(ValueError):
            return json.loads(self.body)


@dataclass(frozen=True)
class Service:
    """A service that runs, and where it writes what it has to say."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        method: str | None = None,
        timeout: float = 30,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), dict(answer.getheaders()))
        except (OSError, http.client.HTTPException):
            return Answer(0)
        finally:
            connection.close()

    def sql(self, query: str, headers: Mapping[str, str] | None = None) -> Answer:
        """One question in SQL."""
        body = json.dumps({"query": query}).encode()
        return self.ask("/v1/sql", body, headers={"Content-Type": "application/json", **(headers or {})})

    def wait(self, seconds: float = 60) -> None:
        """Until everything can be answered.

        Raises:
            RuntimeError: that did not come.
        """
        if not until(lambda: self.ask("/readyz").status == 200, seconds):
            raise RuntimeError(f"the service is not ready: {self.ask('/readyz').body!r} {self.note()[-500:]}")

    def lives(self) -> bool:
        """Whether the process answers."""
        return self.process.poll() is None and self.ask("/livez", timeout=10).status == 200

    def bugs(self) -> int:
        """Answers 500 that the service has counted itself; -1 where it does not say."""
        answer = self.ask("/metrics")
        if answer.status != 200:
            return -1
        counts = [line.rpartition(b" ")[2] for line in answer.body.splitlines() if b'status="500"' in line and b"_total" in line]
        return int(sum(map(float, counts)))

    def note(self) -> str:
        """All that it wrote."""
        return self.log.read_text(errors="replace")


def _path(argument: object) -> str | bytes:
    return argument if isinstance(argument, str | bytes) else os.fspath(argument) if isinstance(argument, Path) else str(argument)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port that the service names when it listens."""

    def named() -> int:
        found = log.read_text(errors="replace").partition("http://127.0.0.1:")[2].partition("/")[0]
        return int(found) if found.isdigit() else 0

    if not until(lambda: named() > 0 or process.poll() is not None, 60) or not named():
        raise RuntimeError(f"the service did not start: {log.read_text(errors='replace')[-500:]}")
    return named()


def until(true: Callable[[], bool], seconds: float, pause: float = 0.1) -> bool:
    """Wait for it; False where it did not come in time."""
    last = time.monotonic() + seconds
    while not true():
        if time.monotonic() > last:
            return False
        time.sleep(pause)
    return True


def end(process: subprocess.Popen[bytes], first: int = signal.SIGKILL) -> None:
    """End a command with all processes of its session."""
    if process.poll() is None:
        process.send_signal(first)
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(15)
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


def survivors(process: subprocess.Popen[bytes]) -> list[str]:
    """Processes that a dead command left in its session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            name, _, rest = (folder / "stat").read_text().rpartition(")")
            state, _, _, session = rest.split()[:4]
            if int(session) == process.pid and state != "Z":
                found.append(f"{folder.name} {name.partition('(')[2]}")
    return found


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


@dataclass
class Memory:
    """Peak memory of a process and its descendants together while entered, in bytes; a thread looks every 20 ms.

    Whoever takes more than `most` is killed, so that an attack does not take the machine with it.
    """

    pid: int
    most: int = 8_000_000_000
    peak: int = 0

    def __enter__(self) -> "Memory":
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> int:
        """Resident bytes now, pages that several share counted once for each; the peak follows."""
        total = 0
        for pid in family(self.pid):
            with suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
        self.peak = max(self.peak, total)
        if total > self.most:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        return total

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.look()


def untidy(done: subprocess.CompletedProcess[bytes]) -> str:
    """Why this end of a command is no user's error: a traceback, a bug, a signal, no end; empty where it is one, or none."""
    if TRACEBACK in done.stderr or TRACEBACK in done.stdout:
        return f"traceback: {done.stderr.decode(errors='replace')[-200:]}"
    if done.returncode in (70, LATE) or done.returncode < 0 or done.returncode > 128:
        return f"exit code {done.returncode}: {done.stderr.decode(errors='replace')[-200:]}"
    return ""


def last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    """What a command said last."""
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else f"exit code {done.returncode}"


def tree(folder: Path) -> dict[str, bytes]:
    """Bytes of every file in a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def copied(source: Path, target: Path) -> Path:
    """A copy of a file or a folder."""
    return Path(shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target))
