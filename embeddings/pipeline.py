"""From files to vectors: every image is decoded once, seen by every view, in batches, on all cores."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from embeddings.images import Decoding, ImageError, decode
from embeddings.types import Embedder, Features, GreyImage, View

BATCH = 64  # images in memory at a time for each worker: a volume can have thousands of slices

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class FrameInfo:
    """Size in pixels and stored mode of one frame."""

    width: int
    height: int
    mode: str


@dataclass(frozen=True)
class FileResult:
    """What became of a file: its frames, or the reason why there are none."""

    frames: tuple[FrameInfo, ...]
    error: str = ""


@dataclass(frozen=True)
class Seen:
    """Files after decoding: one result for each file, and for each view the features of all frames in order."""

    files: tuple[FileResult, ...]
    features: Mapping[str, Features]


def see(paths: Sequence[Path], decoding: Decoding, views: Mapping[str, View] | Mapping[str, Embedder], mirrored: bool) -> Seen:
    """Decode files and show each frame to every view; with `mirrored` its left-right flipped image instead.

    A file that turns out bad at any frame has no frames and its reason as error; it never raises.
    """
    files: list[FileResult] = []
    seen: dict[str, list[Features]] = {name: [] for name in views}
    pending: list[GreyImage] = []

    def show() -> None:
        for name, view in views.items():
            seen[name].append(view.features(pending))
        pending.clear()

    for path in paths:
        frames: list[FrameInfo] = []
        kept = {name: len(parts) for name, parts in seen.items()}
        before = len(pending)
        try:
            for frame in decode(path, decoding):
                pending.append(np.ascontiguousarray(frame.pixels[:, ::-1]) if mirrored else frame.pixels)
                frames.append(FrameInfo(frame.pixels.shape[1], frame.pixels.shape[0], frame.mode))
                if len(pending) == BATCH:
                    show()
        except ImageError as error:
            _forget(seen, kept, pending, before, len(frames))
            files.append(FileResult((), str(error)))
        else:
            files.append(FileResult(tuple(frames)))
    show()
    return Seen(tuple(files), {name: _joined(parts) for name, parts in seen.items()})


def _forget(seen: dict[str, list[Features]], kept: dict[str, int], pending: list[GreyImage], before: int, frames: int) -> None:
    """Take back the frames of a file that turned bad half way."""
    shown = next((sum(len(p.values) for p in parts[kept[name] :]) for name, parts in seen.items()), 0)
    if not shown:
        del pending[before:]
        return
    pending.clear()  # what came before the file was shown with its first batch; what is pending is the file's own
    for name, parts in seen.items():
        first = parts[kept[name]]
        del parts[kept[name] :]
        parts.append(Features(first.values[:before], first.blank[:before]))


def _joined(parts: Sequence[Features]) -> Features:
    values = [value for part in parts for value in part.values]
    return Features(values, np.concatenate([part.blank for part in parts]))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Libraries compute with one thread each inside: the pool has a thread for every core, and results do not depend on cores."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(before)


def workers() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map` over all cores, results in order, with only a few items in flight, so that memory does not grow with the input.

    When the consumer stops early or `work` raises, items not yet begun are dropped.
    """
    with one_thread_each(), ThreadPoolExecutor(workers(), initializer=_prepare_thread) as pool:
        flying: list[Future[Result]] = []
        try:
            for item in items:
                flying.append(pool.submit(work, item))
                if len(flying) > 2 * workers():
                    yield flying.pop(0).result()
            while flying:
                yield flying.pop(0).result()
        finally:
            for future in flying:
                future.cancel()


def _prepare_thread() -> None:
    """PyTorch counts its threads for each calling thread; where it is not loaded yet, nothing here needs it."""
    import sys

    if "torch" in sys.modules:
        from embeddings.resnet import compute_with_one_thread

        compute_with_one_thread()
