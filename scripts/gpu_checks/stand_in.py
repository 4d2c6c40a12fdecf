"""FAISS with GPU classes on a machine without a GPU: they compute on the CPU and refuse misuse.

What ends a process with the real classes, or corrupts its memory, raises `Misuse` here: a GPU class used before `get_num_gpus`,
an index or resources used by a second thread, more than 2,048 neighbours (the real ones raise RuntimeError), a range search, a
search in an empty index, a GPU that is not there. Equal distances come with the highest rows first: a GPU takes any of them.
"""

import threading
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from embeddings.types import Metric
from indexer.search import brute_force

K_MOST = 2048


class Misuse(BaseException):
    """What the real classes would end the process for; no `except Exception` holds it."""


class FaissWithGpus:
    """In the place of the module `faiss`: everything of the real one, and these GPUs.

    Args:
        gpus: how many there are.
    """

    def __init__(self, gpus: int) -> None:
        self._gpus, self._asked = gpus, False
        self.resources: list[Resources] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(faiss, name)

    def get_num_gpus(self) -> int:
        """GPUs there are."""
        self._asked = True
        return self._gpus

    def _begin(self, device: int = 0) -> None:
        if not self._asked:
            raise Misuse("a GPU class was used before get_num_gpus")
        if not 0 <= device < self._gpus:
            raise Misuse(f"GPU {device} is not there")

    def StandardGpuResources(self) -> "Resources":
        """Resources of the calling thread."""
        self._begin()
        self.resources.append(Resources())
        return self.resources[-1]

    def GpuIndexBinaryFlatConfig(self) -> "Config":
        """The first GPU, unless it is set."""
        return Config()

    def GpuIndexBinaryFlat(self, resources: "Resources", bits: int, config: "Config") -> "GpuIndexBinaryFlat":
        """An empty index."""
        self._begin(config.device)
        return GpuIndexBinaryFlat(resources, bits)

    def IndexBinaryShards(self, bits: int, threaded: bool, successive_ids: bool = True) -> "Shards":
        """Parts one after the other; the real ones have a thread each, which belongs to the index."""
        if not successive_ids:
            raise Misuse("rows of all parts would begin with 0")
        return Shards(Metric.HAMMING)

    def GpuMultipleClonerOptions(self) -> "ClonerOptions":
        """Copies, unless `shard` is set."""
        return ClonerOptions()

    def index_cpu_to_gpu(self, resources: "Resources", device: int, index: Any) -> "GpuIndexFlat":
        """An exact index of floats on one GPU."""
        self._begin(device)
        if not isinstance(index, faiss.IndexFlat):
            raise RuntimeError("Error in clone_Index at GpuCloner.cpp: This index type is not implemented on GPU.")
        return GpuIndexFlat(resources, faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d))

    def index_cpu_to_gpu_multiple_py(
        self, resources: list["Resources"], index: Any, co: "ClonerOptions", gpus: list[int]
    ) -> "Shards":
        """The same on several, in parts."""
        if not co.shard:
            raise Misuse("every GPU would hold all vectors")
        shards = Shards(Metric.COSINE)
        for own, device, part in zip(resources, gpus, range(len(gpus)), strict=True):
            whole = self.index_cpu_to_gpu(own, device, index)
            count = len(whole.vectors)
            whole.vectors = whole.vectors[count * part // len(gpus) : count * (part + 1) // len(gpus)]
            shards.add_shard(whole)
        return shards


class Resources:
    """Of one thread."""

    def __init__(self) -> None:
        self.thread, self.temporary = threading.get_ident(), -1

    def setTempMemory(self, size: int) -> None:
        """Note the size."""
        self.temporary = size

    def used(self) -> None:
        """Refuse another thread."""
        if threading.get_ident() != self.thread:
            raise Misuse("a GPU index and its resources belong to one thread")


class Config:
    """Which GPU."""

    device = 0


class ClonerOptions:
    """Parts or copies."""

    shard = False


class _GpuIndex:
    """Vectors on a GPU."""

    metric = Metric.HAMMING

    def __init__(self, resources: Resources, vectors: NDArray[Any]) -> None:
        resources.used()
        self.resources, self.vectors = resources, vectors

    @property
    def ntotal(self) -> int:
        """How many."""
        return len(self.vectors)

    def search(self, queries: NDArray[Any], k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The k nearest, of equal ones the highest rows; as a real index, products for floats."""
        self.resources.used()
        if k > K_MOST:
            raise Misuse(f"{k} neighbours from a GPU")
        if not self.ntotal:
            raise Misuse("a search in an empty GPU index")  # BinaryDistance.cu: FAISS_ASSERT on the width of its rows
        distances = brute_force.distances(self.metric, queries, self.vectors)
        near, rows = _nearest(distances, np.broadcast_to(np.arange(self.ntotal), distances.shape), k)
        return (near if self.metric is Metric.HAMMING else 1 - near), rows

    def range_search(self, *_: Any) -> None:
        """There is none."""
        raise Misuse("GPU indexes have no range search")


class GpuIndexBinaryFlat(_GpuIndex):
    """Codes on a GPU."""

    def __init__(self, resources: Resources, bits: int) -> None:
        super().__init__(resources, np.zeros((0, bits // 8), np.uint8))

    def add(self, codes: NDArray[np.uint8]) -> None:
        """More codes."""
        self.resources.used()
        self.vectors = np.concatenate([self.vectors, codes])


class GpuIndexFlat(_GpuIndex):
    """Unit vectors on a GPU, compared by inner product."""

    metric = Metric.COSINE


class Shards:
    """Parts on several GPUs."""

    def __init__(self, metric: Metric) -> None:
        self._metric, self._parts = metric, list[_GpuIndex]()

    def add_shard(self, part: _GpuIndex) -> None:
        """One more part; its rows follow those there are."""
        self._parts.append(part)

    def search(self, queries: NDArray[Any], k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The k nearest of all parts, short parts filled up with row -1."""
        first, found = 0, []
        for part in self._parts:
            near, rows = part.search(queries, k)
            found.append((near, np.where(rows < 0, -1, rows + first)))
            first += part.ntotal
        near, rows = (np.concatenate(arrays, axis=1) for arrays in zip(*found, strict=True))
        if self._metric is Metric.HAMMING:
            return _nearest(near, rows, k)
        near, rows = _nearest(-near, rows, k)
        return -near, rows


def _nearest(distances: NDArray[Any], rows: NDArray[np.int64], k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The k nearest, of equal ones the highest rows; filled up with row -1 at the largest distance."""
    order = np.lexsort((-rows, distances), axis=1)[:, :k]
    near, found = np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)
    missing = ((0, 0), (0, k - near.shape[1]))
    largest = np.iinfo(np.int32).max if near.dtype == np.int32 else np.finfo(np.float32).max
    return np.pad(near, missing, constant_values=largest), np.pad(found, missing, constant_values=-1)
