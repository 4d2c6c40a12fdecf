"""Check for enough memory before heavy libraries are loaded: without it they crash or hang.

Two figures count: memory that is free, and how much a limit (`ulimit -v`) leaves of the address space. Libraries reserve
far more of the second than they ever use.
"""

import resource
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embeddings.errors import SynthtraceError
from embeddings.views.registry import VIEWS

MB = 1 << 20
PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
LIGHT = frozenset(("doctor", "info", "check", "sql", "evaluate", "submit"))  # neither decode images nor load a network
NETWORK = frozenset(("audit", "demo", "train", "predict", "serve"))  # these load PyTorch, whatever the views


class NotEnoughMemory(SynthtraceError):
    """There is less memory than the command needs; the message says how much that is."""


@dataclass(frozen=True)
class Need:
    """Bytes that a command on small images was seen to take, rounded up: resident, and of address space."""

    resident: int
    space: int


LIGHT_NEED = Need(200 * MB, 1000 * MB)
IMAGES_NEED = Need(400 * MB, 1500 * MB)
NETWORK_NEED = Need(800 * MB, 2600 * MB)


def need(command: str, options: Mapping[str, Any]) -> Need:
    """What a command needs, by its name and its option `view`; `index` without it has all views."""
    if command in LIGHT:
        return LIGHT_NEED
    views = options.get("view") or (VIEWS if command == "index" else ())
    return NETWORK_NEED if command in NETWORK or "resnet" in views else IMAGES_NEED


def check(command: str, options: Mapping[str, Any]) -> None:
    """Refuse a command that could only crash.

    Raises:
        NotEnoughMemory: with what it needs and what there is.
    """
    needed = need(command, options)
    for what, free, wanted in (
        ("free memory", available(), needed.resident),
        ("address space (ulimit -v)", space(), needed.space),
    ):
        if free is not None and free < wanted:
            raise NotEnoughMemory(
                f"{command} needs at least {wanted / MB:,.0f} MB of {what}, and there are {max(free, 0) / MB:,.0f} MB; "
                "end other programs, or raise the limit"
            )


def available() -> int | None:
    """Bytes that this process can still take: of the machine, of its limits and of its control groups; None where nobody says."""
    limits = [*_machine(), *_groups(), *_limit(resource.RLIMIT_DATA, "VmData")]
    return min(limits, default=None)


def space() -> int | None:
    """Bytes that the limit leaves of the address space; None without a limit."""
    return next(_limit(resource.RLIMIT_AS, "VmSize"), None)


def _machine() -> Iterator[int]:
    yield from _numbers(PROC / "meminfo", "MemAvailable:")


def _limit(kind: int, used: str) -> Iterator[int]:
    soft, _ = resource.getrlimit(kind)
    if soft != resource.RLIM_INFINITY:
        yield soft - sum(_numbers(PROC / "self" / "status", f"{used}:"))


def _groups() -> Iterator[int]:
    """What each control group (v2) above this process leaves; file contents that are only cached count as free."""
    try:
        own = (PROC / "self" / "cgroup").read_text(encoding="utf-8").rpartition("0::/")[2].strip()
    except OSError:
        return
    folder = CGROUP / own
    for group in (folder, *folder.parents):
        try:
            limit = (group / "memory.max").read_text(encoding="utf-8").strip()
            used = int((group / "memory.current").read_text(encoding="utf-8"))
        except OSError:
            continue
        if limit != "max":
            yield int(limit) - used + sum(_numbers(group / "memory.stat", "inactive_file", 1))


def _numbers(path: Path, name: str, unit: int = 1024) -> Iterator[int]:
    """The number that stands after a name in a file of the kernel, in bytes."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    yield from (int(words[1]) * unit for words in map(str.split, lines) if words and words[0] == name)
