"""Vectors at random in four views of the sizes that an index has by default, and the memory that work on them takes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec, Metric

VIEWS = {  # 256 bits, and three times 256 floats
    "phash": EmbeddingSpec("phash", 256, Metric.HAMMING),
    **{view: EmbeddingSpec(view, 256, Metric.COSINE) for view in ("resnet", "pixels", "sift")},
}


def drawn(spec: EmbeddingSpec, count: int, rng: np.random.Generator) -> NDArray[np.generic]:
    """Vectors at random."""
    if spec.metric is Metric.HAMMING:
        return rng.integers(0, 256, (count, spec.width), dtype=np.uint8)
    vectors = rng.standard_normal((count, spec.width), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def status(name: str) -> int:
    """A figure of this process in /proc, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@contextmanager
def watched() -> Iterator[list[int]]:
    """The largest RssAnon while the block runs, in a list of one."""
    largest, ended = [status("RssAnon")], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            largest[0] = max(largest[0], status("RssAnon"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield largest
    finally:
        ended.set()
        thread.join()
