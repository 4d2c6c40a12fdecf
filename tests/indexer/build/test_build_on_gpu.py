"""A collection made and searched on a GPU that the CPU plays, against one of the CPU."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from embeddings.gpu import device as kernels
from embeddings.gpu import resnet, sift
from indexer import device
from indexer.build.build import Settings, build
from indexer.collection import Collection
from indexer.search import faiss_gpu
from tests.helpers.loading import beside_scripts
from tests.helpers.making import write_images

with beside_scripts():
    from gpu_checks.stand_in import FaissWithGpus

COUNT = 6
SETTINGS = Settings({"phash": {}, "pixels": {}, "sift": {"words": 8}, "resnet": {"size": 32}})


class Stream:
    """A stream of a GPU that is the CPU."""

    device = torch.device("cpu")

    def __init__(self, number: int) -> None:
        self.number = number


@pytest.fixture
def _gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(sift, "_BATCH", COUNT)  # not filled up to more: the CPU is slow
    monkeypatch.setattr(resnet, "first_of", lambda _: torch.device("cpu"))
    monkeypatch.setattr(device, "_torch_gpus", lambda: 2)
    monkeypatch.setattr(faiss_gpu, "faiss", FaissWithGpus(2))
    for cached in (kernels._streams, faiss_gpu._owner):
        cached.cache_clear()
    yield
    for cached in (kernels._streams, faiss_gpu._owner):
        cached.cache_clear()


@pytest.fixture
def made(tmp_path: Path) -> Collection:
    """By the CPU."""
    write_images(tmp_path / "images", range(COUNT))
    return build(tmp_path / "cpu", tmp_path / "images", settings=SETTINGS, device="cpu")


@pytest.mark.usefixtures("_gpu")
@pytest.mark.parametrize("asked", [pytest.param("cuda:1", marks=pytest.mark.slow), "cuda:all"])
def test_vectors_and_neighbours_are_those_of_the_cpu(tmp_path: Path, made: Collection, asked: str) -> None:
    gpu = build(tmp_path / "gpu", tmp_path / "images", fitted_on=made, device=asked)
    gpu.comparable(made, gpu.views)
    where = gpu.devices(asked)
    for view, bound in {"phash": 0, "pixels": 1e-5, "resnet": 0.02, "sift": 0.05}.items():
        one, other = gpu.vectors(view), made.vectors(view)
        if not bound:
            assert np.array_equal(one, other)
        else:
            assert (1 - (one * other).sum(axis=1)).max() <= bound
        found = gpu.nearest(view, made.vectors(view), 5, where.search)
        truth = gpu.nearest(view, made.vectors(view), 5, "cpu")
        assert np.allclose(
            found.distances, truth.distances, rtol=0, atol=1e-4
        )  # sums of 4,096 products: so few images are not whitened
        assert np.array_equal(found.rows[:, 0], np.arange(COUNT))


@pytest.mark.slow
@pytest.mark.usefixtures("_gpu")
def test_views_are_fitted_from_what_the_gpu_sees(tmp_path: Path, made: Collection) -> None:
    gpu = build(tmp_path / "gpu", tmp_path / "images", settings=SETTINGS, device="cuda")
    assert gpu.nearest("sift", gpu.vectors("sift"), 1, "cuda:0").rows[:, 0].tolist() == list(range(COUNT))
    assert np.array_equal(gpu.vectors("phash"), made.vectors("phash"))
