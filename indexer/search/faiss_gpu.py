"""FAISS on GPUs: each index belongs to one thread, which makes it, searches it and lets go of it.

A GPU index is not safe for several threads, even to read, and neither are its resources (FAISS wiki, "Threads and asynchronous
calls"). So every device has one thread with one `StandardGpuResources` for each GPU; other threads hand it their searches.
Written after the sources of FAISS 1.15.1 (`faiss/gpu`) and tested with a stand-in; it has not run on a GPU yet.
"""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from embeddings.extras import installing
from embeddings.types import Metric
from indexer.gpu_memory import limited_to
from indexer.search import brute_force
from indexer.types import NoGpu

K_MOST = 2048  # neighbours that FAISS selects on a GPU (GPU_MAX_SELECTION_K)
_FEWEST = 32  # neighbours that are asked for at least: up to here a list costs the same (BinaryDistance.cu)
_SCAN = 1 << 16  # rows compared at a time where they were
_MEND = "use --device cpu"


def gpus() -> int:
    """GPUs that this faiss can use. Ask before touching any GPU class: without a driver they end the process."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


class GpuIndex:
    """A copy of an index on ``cuda:N``, or spread over all GPUs (``cuda:all``). Any thread may search it.

    Binary: only exact indexes have a GPU class; what is found equals the CPU's, order included. Float: distances equal within
    `brute_force.ROUNDING`.

    Args:
        index: a CPU index; an exact binary one is kept, and must stay as it is.
        device: ``cuda``, ``cuda:N`` or ``cuda:all``.

    Raises:
        NoGpu: FAISS has no such GPU, no GPU class for this index, or too little memory there.
    """

    def __init__(self, index: Any, device: str) -> None:
        numbers = _numbers(device)[: max(1, int(index.ntotal))]  # no empty part: a search in one ends the process
        self.ntotal, self.device = int(index.ntotal), device
        self._binary = isinstance(index, faiss.IndexBinary)
        if self._binary and not isinstance(index, faiss.IndexBinaryFlat):
            raise NoGpu(f"{type(index).__name__} has no GPU class; use the factory string BFlat, or --device cpu")
        self._codes = _codes(index) if self._binary else None
        self._source = index  # the codes are its memory
        self._owner = _owner(device)
        put = _binary if self._binary else _floats
        held = [self._owner.submit(_named, device, put, index, numbers).result()]
        self._held = held
        weakref.finalize(self, self._owner.submit, held.clear).atexit = False  # memory is given back by the thread that took it

    def search(self, queries: NDArray[Any], k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Distances and rows of the k nearest of each query, as a CPU index gives them.

        Args:
            queries: (nq, width).
            k: at most `ntotal`.

        Raises:
            NoGpu: k is above 2,048, or the GPU has too little memory.
        """
        if k > K_MOST:
            raise NoGpu(f"a GPU finds at most {K_MOST:,} neighbours, and {k:,} were asked for; ask for fewer, or {_MEND}")
        # twice as many, to see whether equal distances were cut, up to the power of two that FAISS sorts anyway
        take = min(max(_FEWEST, 1 << (2 * k - 1).bit_length()), K_MOST, self.ntotal) if self._binary else k
        near, rows = self._owner.submit(_named, self.device, self._held[0].search, queries, take).result()
        return (near, rows) if self._codes is None else self._lowest(queries, near, rows, k)

    def _lowest(
        self, queries: NDArray[np.uint8], near: NDArray[np.int32], rows: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The first k, of equal distances the lowest rows: a GPU takes any of them."""
        order = np.lexsort((rows, near), axis=1)
        near, rows = np.take_along_axis(near, order, 1), np.take_along_axis(rows, order, 1)
        cut = (near[:, -1] == near[:, k - 1]) & (near.shape[1] < self.ntotal)  # there may be more as near as the k-th
        for query in np.flatnonzero(cut):
            limit = near[query, k - 1]
            nearer = int(np.count_nonzero(near[query] < limit))
            rows[query, nearer:k] = self._first_at(queries[query], int(limit), k - nearer)
        return np.ascontiguousarray(near[:, :k]), np.ascontiguousarray(rows[:, :k])

    def _first_at(self, query: NDArray[np.uint8], distance: int, count: int) -> NDArray[np.int64]:
        """The lowest `count` rows at this distance. Such rows are many, so few blocks are looked at."""
        found = np.zeros(0, np.int64)
        for start in range(0, self.ntotal, _SCAN):
            assert self._codes is not None
            block = brute_force.distances(Metric.HAMMING, query[None], self._codes[start : start + _SCAN])[0]
            found = np.append(found, start + np.flatnonzero(block == distance))
            if len(found) >= count:
                break
        return found[:count]


def _numbers(device: str) -> list[int]:
    """The GPUs that a device names."""
    there, which = gpus(), device.partition(":")[2]
    numbers = list(range(there)) if which == "all" else [int(which or 0)]
    if not numbers or max(numbers) >= there:
        mend = f"{_MEND}, or on a machine with a GPU {installing('gpu')}"
        raise NoGpu(f"{device} was asked for, but FAISS sees {there} GPUs; {mend}")
    return numbers


@cache
def _owner(device: str) -> ThreadPoolExecutor:
    """The one thread that works with a device."""
    return ThreadPoolExecutor(1, thread_name_prefix=f"faiss-{device}")


_local = threading.local()


def _resources(number: int) -> Any:
    """One per thread and GPU: they reserve over a gigabyte and must not be shared between threads."""
    resources = _local.__dict__.setdefault("resources", {})
    if number not in resources:
        resources[number] = faiss.StandardGpuResources()
        if (size := limited_to()) is not None:
            resources[number].setTempMemory(size)
    return resources[number]


def _binary(index: Any, numbers: list[int]) -> Any:
    """The codes on each GPU in equal parts, in order, so that rows of the parts follow each other."""
    codes, parts = _codes(index), []
    for place, number in enumerate(numbers):
        config = faiss.GpuIndexBinaryFlatConfig()
        config.device = number
        part = faiss.GpuIndexBinaryFlat(_resources(number), index.d, config)
        part.add(codes[len(codes) * place // len(numbers) : len(codes) * (place + 1) // len(numbers)])
        parts.append(part)
    if len(parts) == 1:
        return parts[0]
    shards = faiss.IndexBinaryShards(index.d, True)  # a thread for each GPU; rows of the parts follow each other
    for part in parts:
        shards.add_shard(part)
    return shards


def _floats(index: Any, numbers: list[int]) -> Any:
    if len(numbers) == 1:
        return faiss.index_cpu_to_gpu(_resources(numbers[0]), numbers[0], index)
    options = faiss.GpuMultipleClonerOptions()
    options.shard = True  # parts instead of copies
    return faiss.index_cpu_to_gpu_multiple_py([_resources(number) for number in numbers], index, options, numbers)


def _codes(index: Any) -> NDArray[np.uint8]:
    """(n, width) the codes of an exact binary index, where they lie."""
    shape = int(index.ntotal), int(index.code_size)
    flat = faiss.rev_swig_ptr(index.xb.data(), shape[0] * shape[1]) if shape[0] else np.zeros(0, np.uint8)
    return np.asarray(flat, np.uint8).reshape(shape)


def _named(device: str, work: Any, *arguments: Any) -> Any:
    """What `work` gives; FAISS's errors in one line."""
    try:
        return work(*arguments)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].split(": ", 1)[-1]
        raise NoGpu(f"{device}: FAISS cannot do this on the GPU ({reason}); {_MEND}") from error
