"""Memory that uploads took is given back, once for many, and not for ever."""

import subprocess
import sys
import threading

import pytest

from query.service.backend import memory as module
from query.service.backend.memory import Memory
from tests.helpers.places import ROOT

SECONDS = 10.0


def test_what_was_used_is_given_back_once_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST", 0.2)
    given = threading.Semaphore(0)
    with Memory(given.release) as memory:
        assert not given.acquire(timeout=0.4)  # nothing was used
        for _ in range(100):
            memory.used()
        assert given.acquire(timeout=SECONDS)
        assert not given.acquire(timeout=0.4)
        memory.used()
        assert given.acquire(timeout=SECONDS)


def test_it_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST", 1000.0)
    with Memory(lambda: None) as memory:
        memory.used()
    with Memory(lambda: None):
        pass


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")
def test_pages_go_back_to_the_system() -> None:
    """A few blocks that stay hold on to all that was freed below them, until it is given back."""
    program = """
from query.service.backend.memory import share_heaps, trim
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
share_heaps()
before = resident()
kept = [bytearray(100_000) for _ in range(1000)]
kept = [block for number, block in enumerate(kept) if number % 100 == 99]
held = resident() - before
trim()
print(held > 50_000_000, resident() - before < 20_000_000)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    if done.stdout.split()[0] == "False":
        pytest.skip("this system gives memory back by itself")
    assert done.stdout.split() == ["True", "True"]
