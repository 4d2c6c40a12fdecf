"""Nodes of Ray on this machine, as a script starts them: their processes are known by the token of the script."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from embeddings.files.temporary import temporary_folder


def draw_token() -> None:
    """Give this script, and all that it starts, a token of Ray of its own."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def cluster() -> Iterator[tuple[str, int]]:
    """Two nodes of one core each on this machine: address, and the process of the second one's raylet."""
    command = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus=1", "--disable-usage-stats"]
    port = 20_000 + os.getpid() % 10_000
    address = f"127.0.0.1:{port}"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with temporary_folder() as folder, killed_at_the_end():
        head = [f"--port={port}", "--head", "--include-dashboard=false", f"--temp-dir={folder}/r", "--node-ip-address=127.0.0.1"]
        subprocess.run([*command, *head], **quiet)  # type: ignore[call-overload]
        first = set(raylets())
        subprocess.run([*command, f"--address={address}", "--node-ip-address=127.0.0.1"], **quiet)  # type: ignore[call-overload]
        (second,) = set(raylets()) - first
        yield address, second


@contextmanager
def killed_at_the_end() -> Iterator[None]:
    """Processes that begin meanwhile end with it."""
    before = {number for number, _, _ in processes()}
    try:
        yield
    finally:
        for number in {number for number, _, _ in processes()} - before:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def raylets() -> list[int]:
    """Processes that are a node of Ray."""
    return [number for number, _, line in processes() if "/raylet/raylet " in line]


def processes() -> Iterator[tuple[int, int, str]]:
    """Number, parent and command line of every process that this script started: they alone know its token."""
    token = os.environ["RAY_AUTH_TOKEN"].encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            if token not in (folder / "environ").read_bytes():
                continue
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            yield (
                int(folder.name),
                parent,
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip(),
            )
