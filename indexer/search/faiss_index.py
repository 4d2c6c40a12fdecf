"""FAISS: build, search, save and load indexes, and k-means. Only this file, faiss_gpu.py and hamming.py import faiss."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import faiss
import numpy as np
from numpy.typing import NDArray

from embeddings.errors import SynthtraceError
from embeddings.files.writing import write_atomic
from embeddings.types import EmbeddingSpec, Metric
from indexer.search import brute_force, hamming
from indexer.search.merging import nearest_of
from indexer.types import IndexSpec, Neighbours

_ADD_ROWS = 50_000  # vectors added at a time, so that mapped vectors need not fit in memory
_CANDIDATES = 8  # of a compressed index, for each neighbour wanted
_RECALL_QUERIES = 200
_RECALL_K = 10

# Without this a search with few queries, such as 200 on 512 dimensions, goes without BLAS and takes ten times as long.
faiss.cvar.distance_compute_blas_threshold = 1


class IndexProblem(SynthtraceError, ValueError):
    """An index cannot be made or read as asked; the message is one line."""


def version() -> str:
    """Version of faiss."""
    return str(faiss.__version__)


def kmeans(points: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.float32]:
    """Centroids (clusters, d) float32 of (n, d) points: FAISS's Lloyd iterations, at most 1,000 points for each centroid."""
    limits = {"min_points_per_centroid": 1, "max_points_per_centroid": 1000}
    trainer = faiss.Kmeans(points.shape[1], clusters, niter=20, seed=seed, **limits)
    trainer.train(np.ascontiguousarray(points, np.float32))
    return np.asarray(trainer.centroids, np.float32)


def empty(spec: EmbeddingSpec, how: IndexSpec) -> Any:
    """An index without vectors, untrained, by FAISS factory string; see `IndexSpec` for what may stand behind it.

    Raises:
        IndexProblem: FAISS knows no such index for vectors of this kind, or it has no such setting.
    """
    factory, _, setting = how.factory_for(spec.metric).partition(";")
    with _problems_named(spec, how):
        if spec.metric is Metric.COSINE:
            index: Any = faiss.index_factory(spec.dim, factory, faiss.METRIC_INNER_PRODUCT)
            if setting:
                parameters: Any = faiss.ParameterSpace()
                parameters.set_index_parameters(index, setting)
            return index
        index = faiss.index_binary_factory(spec.dim, factory)
        if setting:
            _set_binary(index, setting)
        return index


def _set_binary(index: Any, setting: str) -> None:
    """``nprobe=8`` or ``efSearch=64``: FAISS's `ParameterSpace` knows float indexes only.

    Raises:
        RuntimeError: the index has no such setting.
    """
    name, _, value = setting.partition("=")
    owner = getattr(index, "hnsw", index) if name == "efSearch" else index
    if name not in ("nprobe", "efSearch") or not hasattr(owner, name) or not value.isdigit() or int(value) < 1:
        raise RuntimeError(f"it has no setting {setting!r}")
    setattr(owner, name, int(value))


def build(spec: EmbeddingSpec, vectors: NDArray[Any], how: IndexSpec, trained: Any = None) -> Any:
    """An index over (n, width) vectors; rows are ids.

    Args:
        spec: of the vectors.
        vectors: mapped ones need not fit in memory.
        how: which index.
        trained: one of the same kind, whose centroids are taken; it stays as it is. None to train on these vectors.

    Raises:
        IndexProblem: see `empty`; or it cannot be trained on so few vectors.
    """
    index = empty(spec, how) if trained is None else _emptied(trained)
    with _problems_named(spec, how):
        if not index.is_trained:
            chosen = np.random.default_rng(how.seed).permutation(len(vectors))[: how.train_size]
            index.train(np.ascontiguousarray(vectors[np.sort(chosen)]))
        for start in range(0, len(vectors), _ADD_ROWS):
            index.add(np.ascontiguousarray(vectors[start : start + _ADD_ROWS]))
    return index


def _emptied(trained: Any) -> Any:
    """A copy without vectors, in memory of its own: what `load` gave lies in a file, a clone too, and FAISS ends the process that
    adds to it."""
    binary = isinstance(trained, faiss.IndexBinary)
    written: Any = (faiss.serialize_index_binary if binary else faiss.serialize_index)(trained)
    copy: Any = (faiss.deserialize_index_binary if binary else faiss.deserialize_index)(written)
    copy.reset()
    return copy


@contextmanager
def _problems_named(spec: EmbeddingSpec, how: IndexSpec) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].split(": ", 1)[-1]
        message = f"{spec.view}: FAISS cannot make the index {how.factory_for(spec.metric)!r} of {spec.dim} dimensions: {reason}"
        raise IndexProblem(message) from error


def is_exact(index: Any) -> bool:
    """Whether a search in it is exhaustive."""
    return isinstance(index, faiss.IndexFlat | faiss.IndexBinaryFlat)


def search(index: Any, metric: Metric, queries: NDArray[Any], k: int) -> Neighbours:
    """The k nearest rows of each query, nearest first, equal distances by row, -1 where there are fewer.

    Args:
        index: from `build` or `load`, or an `indexer.search.faiss_gpu.GpuIndex`.
        metric: of the view; cosine distance is 1 - inner product, never below 0.
        queries: (nq, width).
        k: neighbours wanted.
    """
    if isinstance(index, faiss.IndexBinaryFlat) and hamming.is_quicker(len(queries), int(index.ntotal), k):
        return hamming.nearest(queries, _codes(index), k)
    take = min(k, int(index.ntotal))
    rows = np.full((len(queries), k), -1, np.int64)
    distances = brute_force.nothing_found(metric, (len(queries), k))
    if take and len(queries):
        raw, labels = index.search(np.ascontiguousarray(queries), take)
        near = raw if metric is Metric.HAMMING else brute_force.clipped(raw)
        near = np.where(labels < 0, distances[:, :take], near)
        order = np.lexsort((labels, near), axis=1)
        rows[:, :take] = np.take_along_axis(labels, order, axis=1)
        distances[:, :take] = np.take_along_axis(near, order, axis=1)
    return Neighbours(rows, distances, np.zeros(rows.shape, bool))


def search_ranked(index: Any, metric: Metric, queries: NDArray[Any], vectors: NDArray[Any], k: int) -> Neighbours:
    """`search` in a compressed index, ranked by the stored vectors: eight times as many candidates, their distances exact.

    Args:
        index, metric, queries, k: see `search`.
        vectors: (n, width), of which the index is.
    """
    found = search(index, metric, queries, min(_CANDIDATES * k, len(vectors)))
    near = brute_force.nothing_found(metric, found.rows.shape)
    step = max(1, _ADD_ROWS // max(1, found.k))
    for start in range(0, len(queries), step):
        rows = found.rows[start : start + step]
        exact = brute_force.paired_distances(metric, queries[start : start + step], vectors[np.maximum(rows, 0)])
        near[start : start + step] = np.where(rows < 0, near[start : start + step], exact)
    return nearest_of(Neighbours(found.rows, near, found.mirrored), k)


def _codes(index: Any) -> NDArray[np.uint8]:
    """(n, bytes) the codes of an exact index, where they are."""
    codes = faiss.rev_swig_ptr(index.xb.data(), index.ntotal * index.code_size)
    return np.asarray(codes).reshape(index.ntotal, index.code_size)


def measured_recall(index: Any, metric: Metric, vectors: NDArray[Any], seed: int, compressed: bool = False) -> float:
    """Share of the 10 exact neighbours that the index finds, for up to 200 of its own vectors drawn by seed.

    A neighbour as near as the tenth counts, whichever of equal ones it is. A compressed one is searched by `search_ranked`.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:_RECALL_QUERIES])
    queries = np.ascontiguousarray(vectors[chosen])
    truth = brute_force.neighbours(metric, queries, vectors, min(_RECALL_K, len(vectors)))
    neighbours = (
        search_ranked(index, metric, queries, vectors, truth.k) if compressed else search(index, metric, queries, truth.k)
    )
    hits = [
        np.count_nonzero(brute_force.distances(metric, query[None], vectors[rows[rows >= 0]])[0] <= limit + brute_force.ROUNDING)
        for query, rows, limit in zip(queries, neighbours.rows, truth.distances[:, -1], strict=True)
    ]
    return float(np.sum(hits) / truth.rows.size)


def save(index: Any, path: Path) -> None:
    """Write the index, whole or not at all (`write_index` alone would leave a short file on a full disk without a word).

    Raises:
        FullDisk: no space left.
    """

    def write(file: BinaryIO) -> None:
        failed: list[OSError] = []

        def put(data: bytes) -> int:
            try:
                return len(data) if failed else file.write(data)
            except OSError as error:  # faiss would swallow it
                failed.append(error)
                return 0

        serialise = faiss.write_index_binary if isinstance(index, faiss.IndexBinary) else faiss.write_index
        try:
            serialise(index, faiss.PyCallbackIOWriter(put))  # type: ignore[attr-defined]
        except RuntimeError as error:
            raise (failed[0] if failed else OSError(errno.EIO, f"{path}: {error}")) from error
        if failed:
            raise failed[0]

    write_atomic(path, write)


def load(path: Path, content: memoryview, metric: Metric) -> Any:
    """An index from the content of a file whose checksum has been checked. Exact ones stay in there, they are not copied. Never
    add to it.

    Raises:
        IndexProblem: it cannot be read.
    """
    read = faiss.read_index_binary if metric is Metric.HAMMING else faiss.read_index
    data = np.frombuffer(content, np.uint8)
    try:
        index = read(faiss.ZeroCopyIOReader(faiss.swig_ptr(data), data.size))  # type: ignore[attr-defined]
    except RuntimeError as error:
        raise IndexProblem(f"{path}: FAISS cannot read it; build the collection again") from error
    faiss.add_to_referenced_objects(index, data)  # type: ignore[attr-defined]  # which must live as long
    return index
