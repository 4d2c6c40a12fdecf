"""Start child processes that decode image files. Without NumPy: a child can start before whoever asks it has loaded that."""

import atexit
import os
import subprocess
import sys
from collections import deque
from pathlib import Path

# -P: not the current folder, which -m would take modules from. -S: no second search for packages, the path is ours.
COMMAND = ("-P", "-S", "-m", "embeddings.images.worker")
_begun: "deque[subprocess.Popen[bytes]]" = deque()


def begin() -> None:
    """Start a child that will soon be needed; returns at once."""
    _begun.append(_started())


def taken() -> "subprocess.Popen[bytes]":
    """A child of one's own: one that was begun before, else a new one."""
    try:
        return _begun.popleft()
    except IndexError:
        return _started()


def _started() -> "subprocess.Popen[bytes]":
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    quiet = {"PYTHONWARNINGS": "ignore", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # threads count as memory
    quiet |= {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    return subprocess.Popen(
        [sys.executable, *COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, "PYTHONPATH": path, **quiet},
        start_new_session=True,  # Ctrl-C is for us; the child ends when its standard input does
    )


def _end_all() -> None:
    """End those that nobody took."""
    while _begun:
        process = _begun.popleft()
        process.kill()
        process.communicate()


def _forget_all() -> None:
    """They are children of the process that forked us."""
    while _begun:
        _begun.popleft().returncode = 0


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forget_all)
