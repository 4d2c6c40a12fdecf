"""Work for executors in tests: defined here, since Ray sends functions by the name of their module."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from embeddings.errors import SynthtraceError
from embeddings.pipeline import workers
from indexer.execution.executor import Shared


class Refused(SynthtraceError):
    """What a piece of work answers where it cannot be done."""


def square(number: int) -> int:
    """Slower for earlier numbers, so that work ends in another order than it began."""
    time.sleep(0.02 * (5 - number % 5))
    return number * number


def refuse_three(number: int) -> int:
    """Note each attempt in a file; number 3 is refused."""
    if number == 3:
        raise Refused("three cannot be done")
    return number


def scaled(share: Shared[np.ndarray], number: int) -> float:
    """The sum of a shared array, times the number."""
    return float(share.value.sum()) * number


def cores(_: int) -> int:
    """Cores that the work believes it has."""
    return workers()


def killed_at_first(folder: str, number: int) -> int:
    """The first process that does an even number ends at once; the second one does it."""
    mark = Path(folder, f"{number}")
    if number % 2 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def killed_always(number: int) -> int:
    """Number 1 ends every process that does it."""
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def tell_a_name(name: str) -> int:
    """Print the name to both streams, and fail with it in the message."""
    print(name)
    os.write(2, name.encode())
    print(name, file=sys.stderr)
    raise FileNotFoundError(2, "no such file", f"/patients/{name}.png")
