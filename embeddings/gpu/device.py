"""Turns on a GPU: a few threads at a time, each on a stream of its own, so that copies and decoding overlap with computing."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.types import GreyImage

# Batches in flight on each GPU: one computes while the other is copied. More would only hold more memory.
STREAMS = 2


@contextmanager
def on(device: str) -> Iterator[torch.device]:
    """Compute on a device inside: ``cpu``, ``cuda:N``, or ``cuda:all`` for whichever GPU is free. Gives the one it is.

    Waits for a free stream; results must be fetched inside.
    """
    if device == "cpu":
        with torch.inference_mode():
            yield torch.device("cpu")
        return
    free = _streams(device)
    stream = free.get()
    try:
        with torch.inference_mode(), torch.cuda.stream(stream):
            yield stream.device
    finally:
        free.put(stream)


def first_of(device: str) -> torch.device:
    """The first GPU that a device names, or the CPU."""
    return torch.device("cuda:0" if device == "cuda:all" else device)


@cache
def _streams(device: str) -> "queue.SimpleQueue[torch.cuda.Stream]":
    """The streams of all GPUs that a device names, those of different GPUs in turn."""
    which = device.partition(":")[2] or "0"
    numbers = range(torch.cuda.device_count()) if which == "all" else [int(which)]
    free: queue.SimpleQueue[torch.cuda.Stream] = queue.SimpleQueue()
    for _ in range(STREAMS):
        for number in numbers:
            free.put(torch.cuda.Stream(number))
    return free


def upload(array: NDArray[Any], where: torch.device) -> torch.Tensor:
    """The array there, through page-locked memory, so that the copy does not wait for what computes."""
    tensor = _tensor(array)
    return tensor if where.type == "cpu" else tensor.pin_memory().to(where, non_blocking=True)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """PyTorch warns of arrays that cannot be written, such as those mapped from a file."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


class Kept:
    """An array that stays on every device that asked for it."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array, self._there, self._lock = array, dict[torch.device, torch.Tensor](), threading.Lock()

    def on(self, where: torch.device) -> torch.Tensor:
        """The array there."""
        with self._lock:
            if where not in self._there:
                self._there[where] = _tensor(self._array).to(where)
                if where.type == "cuda":
                    torch.cuda.synchronize(where)  # it was copied on one stream, and others will read it
        tensor = self._there[where]
        if where.type == "cuda":
            tensor.record_stream(torch.cuda.current_stream(where))  # its memory waits for this stream before it is used again
        return tensor


def by_shape(images: Sequence[GreyImage], batch: int, work: Callable[[NDArray[np.uint8], NDArray[np.intp]], None]) -> None:
    """Give all images to `work` in stacks (n, H, W) of one shape, at most `batch` of them, with their (n,) places."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        shapes.setdefault(image.shape, []).append(place)
    for places in shapes.values():
        for start in range(0, len(places), batch):
            some = places[start : start + batch]
            work(np.stack([images[place] for place in some]), np.array(some))
