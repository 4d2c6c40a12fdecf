"""FAISS on GPUs against the CPU: with a stand-in that refuses misuse, and on a GPU where there is one."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec, Metric
from indexer import gpu_memory
from indexer.search import brute_force, faiss_gpu
from indexer.search.faiss_gpu import GpuIndex
from indexer.search.faiss_index import build, search
from indexer.types import IndexSpec, NoGpu
from tests.helpers.loading import beside_scripts
from tests.helpers.places import ROOT

with beside_scripts():
    from gpu_checks.stand_in import FaissWithGpus, Misuse

BITS, FLOATS = EmbeddingSpec("bits", 256, Metric.HAMMING), EmbeddingSpec("floats", 48, Metric.COSINE)
needs_gpu = pytest.mark.skipif(faiss_gpu.gpus() == 0, reason="FAISS finds no NVIDIA GPU")


@pytest.fixture
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaissWithGpus]:
    """FAISS that believes in so many GPUs, in threads of its own."""
    fake = FaissWithGpus(getattr(request, "param", 2))
    monkeypatch.setattr(faiss_gpu, "faiss", fake)
    faiss_gpu._owner.cache_clear()
    yield fake
    gc.collect()
    faiss_gpu._owner.cache_clear()


def vectors_of(spec: EmbeddingSpec, n: int, seed: int = 0) -> NDArray[Any]:
    """Codes of few different bits, so that many are equally far; unit vectors."""
    rng = np.random.default_rng(seed)
    if spec.metric is Metric.HAMMING:
        return rng.integers(0, 2, (n, spec.width), dtype=np.uint8)
    vectors = rng.normal(size=(n, spec.dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def assert_as_the_cpu(spec: EmbeddingSpec, device: str, n: int, k: int) -> None:
    vectors, queries = vectors_of(spec, n), vectors_of(spec, 30, seed=1)
    found = search(GpuIndex(build(spec, vectors, IndexSpec()), device), spec.metric, queries, k)
    truth = brute_force.neighbours(spec.metric, queries, vectors, k)
    if spec.metric is Metric.HAMMING:
        assert np.array_equal(found.distances, truth.distances)
        assert np.array_equal(found.rows, truth.rows)
    else:
        assert np.allclose(found.distances, truth.distances, rtol=0, atol=brute_force.ROUNDING)
        assert np.mean(found.rows == truth.rows) > 0.99


CASES = pytest.mark.parametrize(("n", "k"), [(5000, 10), (5000, 2048), (300, 250), (7, 20), (1, 1), (0, 4)])
KINDS = pytest.mark.parametrize("spec", [BITS, FLOATS], ids=lambda spec: spec.view)


@CASES
@KINDS
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "cuda:all"])
@pytest.mark.usefixtures("gpus")
def test_neighbours_are_those_of_brute_force(spec: EmbeddingSpec, device: str, n: int, k: int) -> None:
    assert_as_the_cpu(spec, device, n, k)


@pytest.mark.usefixtures("gpus")
def test_of_very_many_equal_codes_the_first_are_found() -> None:
    vectors = np.repeat(vectors_of(BITS, 3), 70_000, axis=0)
    index = GpuIndex(build(BITS, vectors, IndexSpec()), "cuda:all")
    found = search(index, BITS.metric, vectors[[1, 100_000]], 5)
    assert found.distances.tolist() == [[0] * 5] * 2
    assert found.rows.tolist() == [[0, 1, 2, 3, 4], [70_000, 70_001, 70_002, 70_003, 70_004]]


@KINDS
@pytest.mark.usefixtures("gpus")
def test_any_thread_may_search(spec: EmbeddingSpec) -> None:
    vectors = vectors_of(spec, 500)
    indexes = [GpuIndex(build(spec, vectors, IndexSpec()), device) for device in ("cuda:0", "cuda:0", "cuda:all")]
    alone = search(indexes[0], spec.metric, vectors, 10)
    with ThreadPoolExecutor(8) as pool:
        many = list(pool.map(lambda number: search(indexes[number % 3], spec.metric, vectors, 10), range(24)))
    within = 0 if spec.metric is Metric.HAMMING else brute_force.ROUNDING  # BLAS rounds by how many rows a GPU holds
    assert max(np.abs(each.distances - alone.distances).max() for each in many) <= within


def test_each_thread_has_resources_of_its_own_once(gpus: FaissWithGpus) -> None:
    index = build(BITS, vectors_of(BITS, 10), IndexSpec())
    kept = [GpuIndex(index, device) for device in ("cuda:0", "cuda:0", "cuda:1", "cuda:all")]
    assert len(kept) == 4
    assert len(gpus.resources) == 4  # of cuda:0, of cuda:1, and of both for all
    assert len({each.thread for each in gpus.resources}) == 3


def test_working_memory_is_limited(gpus: FaissWithGpus) -> None:
    gpu_memory.limit(1000)
    try:
        GpuIndex(build(BITS, vectors_of(BITS, 10), IndexSpec()), "cuda:1")
    finally:
        gpu_memory.limit(None)
    GpuIndex(build(BITS, vectors_of(BITS, 10), IndexSpec()), "cuda:0")
    assert [each.temporary for each in gpus.resources] == [1000, -1]


@KINDS
@pytest.mark.usefixtures("gpus")
def test_too_many_neighbours_are_refused_by_name(spec: EmbeddingSpec) -> None:
    vectors = vectors_of(spec, 3000)
    index = GpuIndex(build(spec, vectors, IndexSpec()), "cuda:0")
    with pytest.raises(NoGpu, match="at most 2,048 neighbours, and 2,049 were asked for; ask for fewer, or use --device cpu"):
        search(index, spec.metric, vectors[:2], 2049)


@pytest.mark.parametrize("gpus", [0, 2], indirect=True)
def test_a_gpu_that_is_not_there_is_refused(gpus: FaissWithGpus) -> None:
    with pytest.raises(NoGpu, match=f"cuda:7 was asked for, but FAISS sees {gpus.get_num_gpus()} GPUs; use --device cpu"):
        GpuIndex(build(BITS, vectors_of(BITS, 10), IndexSpec()), "cuda:7")


@pytest.mark.usefixtures("gpus")
def test_an_index_without_gpu_class_is_refused() -> None:
    with pytest.raises(NoGpu, match="has no GPU class; use the factory string BFlat"):
        GpuIndex(build(BITS, vectors_of(BITS, 1000), IndexSpec(binary_factory="BIVF16")), "cuda:0")
    with pytest.raises(NoGpu, match=r"cuda:0: FAISS cannot do this on the GPU \(This index type is not implemented on GPU.\)"):
        GpuIndex(build(FLOATS, vectors_of(FLOATS, 1000), IndexSpec(factory="HNSW8")), "cuda:0")


def test_the_stand_in_refuses_misuse() -> None:
    fake = FaissWithGpus(1)
    with pytest.raises(Misuse, match="before get_num_gpus"):
        fake.StandardGpuResources()
    fake.get_num_gpus()
    config, vectors = fake.GpuIndexBinaryFlatConfig(), vectors_of(BITS, 3000)
    index = fake.GpuIndexBinaryFlat(fake.StandardGpuResources(), 256, config)
    index.add(vectors)
    with ThreadPoolExecutor(1) as pool, pytest.raises(Misuse, match="belong to one thread"):
        pool.submit(index.search, vectors[:1], 1).result()
    with pytest.raises(Misuse, match="2049 neighbours"):
        index.search(vectors[:1], 2049)
    with pytest.raises(Misuse, match="no range search"):
        index.range_search(vectors[:1], 10)
    config.device = 1
    with pytest.raises(Misuse, match="GPU 1 is not there"):
        fake.GpuIndexBinaryFlat(fake.StandardGpuResources(), 256, config)


@pytest.mark.skipif(faiss_gpu.gpus() > 0, reason="there is a GPU here")
def test_without_a_gpu_there_is_an_error_and_no_abort() -> None:
    program = """
import numpy as np
from embeddings.types import EmbeddingSpec, Metric
from indexer.search.faiss_gpu import GpuIndex
from indexer.search.faiss_index import build
from indexer.types import IndexSpec, NoGpu
for spec in (EmbeddingSpec("b", 256, Metric.HAMMING), EmbeddingSpec("f", 8, Metric.COSINE)):
    index = build(spec, np.ones((3, spec.width), spec.dtype), IndexSpec())
    for device in ("cuda", "cuda:0", "cuda:all"):
        try:
            GpuIndex(index, device)
        except NoGpu as error:
            print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert all("FAISS sees 0 GPUs; use --device cpu" in line for line in lines)


@pytest.mark.gpu
@needs_gpu
@CASES
@KINDS
@pytest.mark.parametrize("device", ["cuda:0", "cuda:all"])
def test_the_gpu_finds_what_brute_force_finds(spec: EmbeddingSpec, device: str, n: int, k: int) -> None:
    assert_as_the_cpu(spec, device, n, k)
