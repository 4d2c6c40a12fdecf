"""How a command leaves: no thread of Arrow may be left that still holds Python objects when Python ends, and no thread may keep
an interrupted command from ending.

Such a thread asks for Python's lock to let go of them. Python 3.11 to 3.13 end it for that inside a C++ destructor, and so end
the process by SIGABRT (exit code 134) after its work was done; Python 3.14 lets the thread wait for ever.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.making import write_images
from tests.helpers.places import ROOT

THREADED = ("join", "join_asof", "read", "read_csv", "read_json", "read_pandas", "read_table", "to_table")

# Runs commands one after another in one process, and tells how many threads each has left more than there were. What starts
# threads of its own when it is imported is imported first; Arrow starts its threads at the first work for them and keeps them.
COMMANDS = """
import json, os, sys
import cv2, faiss, matplotlib.pyplot, pandas, pyarrow.parquet, scipy.linalg
from query.cli.main import main

def threads():
    return len(os.listdir("/proc/self/task"))

before, left = threads(), {}
for command in json.loads(sys.argv[1]):
    sys.argv[1:] = command
    try:
        main()
    except SystemExit as end:
        assert end.code == 0, (command, end.code)
    left[command[0]] = threads() - before
print("left:", json.dumps(left))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted under /proc")
def test_no_command_leaves_a_thread_of_arrow(tmp_path: Path) -> None:
    write_images(tmp_path / "real", range(12))
    write_images(tmp_path / "generated", range(6, 18))
    commands = [
        ["index", "generated", "--out", "c", "--view", "phash", "-q"],
        ["compare", "real", "c", "--db", "r.duckdb", "-q"],
        ["sql", "SELECT count(*) FROM images", "--db", "r.duckdb", "--out", "t.parquet"],
        ["map", "generated", "real", "--csv", "m.csv", "-q"],
        ["lookup", "real/006.png", "c"],
        ["info", "c"],
        ["report", "r.duckdb", "-q"],
    ]
    others = {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}  # their threads stay too, and hold nothing of Python's
    environment = {**os.environ, **others, "PYTHONPATH": str(ROOT)}
    code = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    done = subprocess.run(code, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.rpartition("left:")[2]) == {command[0]: 0 for command in commands}


# A command that is interrupted while other threads compute in C++ for as long as the process lives, as after several Ctrl-C.
BUSY = """
import sys, threading
import click, cv2, numpy
from query.cli.main import main

def compute():
    while True:
        cv2.GaussianBlur(image, (3, 3), 1)
        begun.release()

def interrupted(*_):
    for _ in range(4):
        threading.Thread(target=compute, daemon=True).start()
    for _ in range(40):
        begun.acquire()
    raise KeyboardInterrupt

image, begun = numpy.zeros((64, 64), numpy.uint8), threading.Semaphore(0)
click.Group.invoke = interrupted
sys.argv[1:] = ["info", "c"]
main()
"""


def test_an_interrupted_command_ends_whatever_threads_are_at_work() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", BUSY], env=environment, capture_output=True, text=True, timeout=60)
        told = "synthtrace: interrupted; the same command carries on where it stopped"
        assert (done.returncode, done.stdout, done.stderr.split("\n")) == (130, "", ["", told, ""])


def test_arrow_is_never_asked_for_threads() -> None:
    found = [call for package in ("embeddings", "indexer", "query", "scripts") for call in threaded_calls(ROOT / package)]
    assert found == []


def threaded_calls(folder: Path) -> Iterator[str]:
    """The calls in modules that use Arrow, or its tables, to which Arrow gives threads unless it is told not to."""
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                options = {each.arg: ast.unparse(each.value) for each in node.keywords}
                where = f"{path.relative_to(ROOT)}:{node.lineno}: {node.func.attr}"
                if of_arrow(node.func) and options.get("use_threads") != "False":
                    yield f"{where} without use_threads=False"
                if node.func.attr == "ParquetFile" and options.get("pre_buffer") != "False":
                    yield f"{where} without pre_buffer=False"


def of_arrow(function: ast.Attribute) -> bool:
    """Whether this is, by its name, one of Arrow's own; `read`, `join` and `read_csv` are other libraries' too."""
    owner = ast.unparse(function.value)
    if function.attr in ("to_pandas", "group_by"):
        return True
    return function.attr in THREADED and ("ParquetFile" in owner or owner.split(".")[0] in ("pa", "pq", "pyarrow"))
