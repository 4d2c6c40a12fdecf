"""Run by test_build.py: builds a collection in children that are killed just before their n-th step on the disk, then resumes.

    killing.py FOLDER INPUTS FIRST STRIDE [BEFORE]

For n = FIRST, FIRST + STRIDE, ... until a child is no more killed: build FOLDER/killed (from a copy of the finished collection
BEFORE, if there is one), let it be killed, build again, and print n and the names of what differs from an undisturbed build.
"""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas  # noqa: F401 (as the embeddings below)
import pyarrow.parquet  # noqa: F401

# before forking, or every child would import them
import embeddings.views.phash
import embeddings.views.sift  # noqa: F401
import indexer.build.commit
import indexer.search.faiss_index  # noqa: F401
from embeddings.images import worker
from embeddings.images.decoding import Frame
from embeddings.images.workers import Decoded, Request
from indexer.build import build
from tests.helpers.making import tree

# Images that the views learn from, and others.
SETTINGS = build.Settings(views={"phash": {}, "sift": {"words": 4}}, sample_size=14)
STEPS = ("replace", "fsync", "unlink", "rmdir", "mkdir")  # all calls by which a build changes what is on the disk, but writing


def kill_before(step: int) -> None:
    """From now on this process has so many steps to live."""
    lock = threading.Lock()
    done = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            with lock:
                if done == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                done += 1
            return call(*args, **kwargs)

        return counting

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def in_child(work: Callable[[], Any]) -> int:
    """Exit status of a child that does the work; the parent itself never computes, so that forking is safe."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def decoded_here(requests: Iterable[Request]) -> Generator[Decoded, None, None]:
    """As `embeddings.images.decode.decode_all`, without a process for it."""
    for request in requests:
        decoded = Decoded(iter(()))
        decoded.frames = frames_here(request, decoded)
        yield decoded


def frames_here(request: Request, decoded: Decoded) -> Iterator[Frame]:
    """The frames of a file; then its hash and size are known."""
    about: dict[str, Any] = {}
    try:
        words = {"path": str(request.source), "member": None, "sha256": request.sha256}
        yield from worker._frames(words, None, request.decoding, about)
    finally:
        decoded.sha256, decoded.size = about.get("sha256", ""), about.get("size", 0)


def main(folder: Path, inputs: Path, first: int, stride: int, before: Path | None = None) -> None:
    build.CHUNK = 6  # several chunks from few images
    # decoded here: a process more for each of hundreds of builds takes minutes, and writes nothing
    vars(build)["decode_all"] = decoded_here
    killed, whole = folder / "killed", folder / "whole"

    def start(target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        if before:
            shutil.copytree(before, target)

    def make(target: Path, step: int | None = None) -> int:
        def work() -> None:
            if step is not None:
                kill_before(step)
            build.build(target, inputs, settings=SETTINGS, device="cpu")

        return in_child(work)

    start(whole)
    assert make(whole) == 0
    expected = tree(whole)
    step = first
    while True:
        start(killed)
        if make(killed, step) == 0:
            break
        status = make(killed)
        got = tree(killed)
        print(step, status, *sorted(name for name in {*expected, *got} if expected.get(name) != got.get(name)), flush=True)
        step += stride


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), *map(Path, sys.argv[5:]))
