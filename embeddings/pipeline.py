"""Files to vectors: decode every image once, embed it by every view, in batches, on all cores."""

import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from embeddings.images.decoding import Frame
from embeddings.images.errors import ImageError
from embeddings.images.orientation import Orientation
from embeddings.types import Embedder, Embeddings, Features, GreyImage, View

# Images, and pixels, in memory at a time for each worker: a volume can have thousands of slices, a slide millions of pixels.
BATCH = 64
BATCH_PIXELS = 64_000_000

Item = TypeVar("Item")
Result = TypeVar("Result")


class Content(Protocol):
    """The content of one file: `embeddings.images.workers.Decoded`. Hash and size are known once its frames have ended."""

    @property
    def frames(self) -> Iterable[Frame]:
        """To be taken once; raises ImageError where the file is bad."""

    @property
    def sha256(self) -> str:
        """Hex; empty where the file could not be read."""

    @property
    def size(self) -> int:
        """In bytes."""


Reader = Callable[[Sequence[Item]], Iterable[Content]]  # the contents of files, however they are named, in order


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """Size in pixels and stored mode of one frame; in one line what was wrong with the file, if anything was; `Frame.patient`."""

    width: int
    height: int
    mode: str
    note: str = ""
    patient: str = ""


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of a file: its frames, or the reason why there are none; SHA-256 (hex) and size of its bytes if it was read."""

    frames: tuple[FrameInfo, ...]
    error: str = ""
    sha256: str = ""
    size: int = 0


@dataclass(frozen=True)
class Seen:
    """Files after decoding: one result for each file, and for each view the features of all frames in order."""

    files: tuple[FileResult, ...]
    features: Mapping[str, Features]


@dataclass(frozen=True)
class Embedded:
    """Files after embedding: one result for each file, and for each view the vectors of all frames in order."""

    files: tuple[FileResult, ...]
    embeddings: Mapping[str, Embeddings]


def see(files: Sequence[Item], views: Mapping[str, View], read: Reader[Item], orientation: Orientation) -> Seen:
    """Read each file once and show its frames to every view, turned or flipped as asked.

    A file that turns out bad at any frame has no frames and its reason as error; it never raises.
    """
    parts: dict[str, list[Features]] = {name: [] for name in views}

    def show(images: Sequence[GreyImage]) -> None:
        for name, view in views.items():
            parts[name].append(view.features(images))

    results, good = _show_all(files, read, orientation, show)
    features = {}
    for name, batches in parts.items():
        values = [value for value, keep in zip((v for part in batches for v in part.values), good, strict=True) if keep]
        blank, kept = np.concatenate([part.blank for part in batches])[good], _kept([part.kept for part in batches], good)
        features[name] = Features(values, blank, kept)
    return Seen(results, features)


def embed(files: Sequence[Item], embedders: Mapping[str, Embedder], read: Reader[Item], orientation: Orientation) -> Embedded:
    """As `see`, all the way to vectors: features, many times larger, are held for one batch only."""
    parts: dict[str, list[Embeddings]] = {name: [] for name in embedders}

    def show(images: Sequence[GreyImage]) -> None:
        for name, embedder in embedders.items():
            parts[name].append(embedder.embed(images))

    results, good = _show_all(files, read, orientation, show)
    embeddings = {}
    for name, batches in parts.items():
        vectors, blank = (np.concatenate(arrays)[good] for arrays in ([m.vectors for m in batches], [m.blank for m in batches]))
        kept = _kept([part.kept for part in batches], good)
        embeddings[name] = Embeddings(batches[0].spec, vectors, blank, kept)
    return Embedded(results, embeddings)


def _kept(batches: Sequence[NDArray[np.uint8] | None], good: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
    """What a view keeps of all frames that proved good; None where it keeps nothing."""
    there = [batch for batch in batches if batch is not None]
    return np.concatenate(there)[good] if there else None


def _show_all(
    files: Sequence[Item], read: Reader[Item], orientation: Orientation, show: Callable[[Sequence[GreyImage]], None]
) -> tuple[tuple[FileResult, ...], NDArray[np.bool_]]:
    """Show all frames in batches; gives one result for each file, and for each frame shown whether its file proved good."""
    results: list[FileResult] = []
    good: list[bool] = []
    pending: list[GreyImage] = []
    pixels_pending = 0
    for content in read(files):
        frames: list[FrameInfo] = []
        error = ""
        try:
            for frame in content.frames:
                pixels = orientation.apply(frame.pixels)
                height, width = pixels.shape
                frames.append(FrameInfo(width, height, frame.mode, "; ".join(frame.notes), frame.patient))
                pending.append(pixels)
                pixels_pending += pixels.size
                if len(pending) == BATCH or pixels_pending >= BATCH_PIXELS:
                    show(pending)
                    pending, pixels_pending = [], 0
        except ImageError as caught:
            error = str(caught) or type(caught).__name__
        if not frames and not error:
            error = "the file holds no image"
        good.extend([not error] * len(frames))
        results.append(FileResult(() if error else tuple(frames), error, content.sha256, content.size))
    show(pending)  # even where none is left: a view then gives an empty array of the right width
    return tuple(results), np.array(good, bool)


class _OneThread:
    """The state of `one_thread_each`: the settings are the process', so the first to come sets and the last to go restores."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Nobody is inside."""
        self.lock = threading.Lock()
        self.inside = 0
        self.restore = ExitStack()

    def enter(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.restore.enter_context(threadpool_limits(1))
                if opencv := sys.modules.get("cv2"):
                    self.restore.callback(opencv.setNumThreads, opencv.getNumThreads())
                    opencv.setNumThreads(1)

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.restore.close()


_one_thread = _OneThread()
os.register_at_fork(after_in_child=_one_thread.begin)  # another thread of the parent may have been inside, or held the lock


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Libraries compute with one thread each inside: the pool has a thread for every core, and results do not depend on cores.

    Those that are loaded before: a look-up by `phash` needs none but NumPy.
    """
    _one_thread.enter()
    try:
        yield
    finally:
        _one_thread.leave()


_limit: list[int] = []  # of `use_cores`, the innermost last


@contextmanager
def use_cores(cores: int) -> Iterator[None]:
    """This process uses no more cores, whatever the machine has: others work beside it. Results do not depend on that."""
    _limit.append(cores)
    try:
        yield
    finally:
        _limit.pop()


def workers() -> int:
    """Cores this process may use."""
    return min([_cores(), *_limit])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    """`map` over all cores, results in order, with only a few items in flight, so that memory does not grow with the input.

    When the consumer stops early or `work` raises, items not yet begun are dropped.
    """
    with one_thread_each(), ThreadPoolExecutor(workers(), initializer=prepare_thread) as pool:
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


def prepare_thread() -> None:
    """To be called first in a thread that computes beside others.

    PyTorch counts its threads for each calling thread; where it is not loaded yet, nothing here needs it.
    """
    if "torch" in sys.modules:
        from embeddings.views.network import compute_with_one_thread

        compute_with_one_thread()
