"""The views by kernels for a GPU, on the CPU, against the views of the CPU: pixels, resnet, whitening, VLAD."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.gpu.pixels import GpuPixels
from embeddings.gpu.resnet import GpuResNet
from embeddings.gpu.sift import GpuSift
from embeddings.gpu.whitening import GpuWhitening
from embeddings.images.decoding import Decoding
from embeddings.phantoms.slices import phantom
from embeddings.types import Embeddings, GreyImage, View
from embeddings.views.network import cuda_devices
from embeddings.views.pixels import Pixels, PixelSettings
from embeddings.views.registry import VIEWS, make_view
from embeddings.views.resnet import ResNet
from embeddings.views.resnet_settings import ResNetSettings
from embeddings.views.sift import Sift, SiftSettings
from embeddings.views.whitening import Whitening
from indexer.search.faiss_index import kmeans

PICTURES = [phantom(seed, 96) for seed in range(70)]  # enough to learn a whitening
ODD = [np.full((90, 70), 9, np.uint8), phantom(3, 64)[:50], phantom(4, 128)]
RESNET, SIFT = ResNetSettings(size=32), SiftSettings(words=8)


def embedded(view: View, learned: dict[str, NDArray[Any]], images: list[GreyImage]) -> Embeddings:
    return view.embedder(learned).embed(images)


def furthest(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Largest cosine distance of one picture's two vectors."""
    return float((1 - (one * other).sum(axis=1)).max())


@pytest.mark.parametrize(
    ("plain", "kernels", "bound"),
    [
        (Pixels(PixelSettings(), {}), GpuPixels(PixelSettings(), {}), 1e-5),
        (ResNet(RESNET, {}), GpuResNet(RESNET, {}), 1e-2),
        (Sift(SIFT, {}), GpuSift(SIFT, {}), 1e-2),
    ],
    ids=["pixels", "resnet", "sift"],
)
def test_vectors_are_those_of_the_cpu_within_a_bound(plain: View, kernels: View, bound: float) -> None:
    images = (PICTURES if plain.name == "pixels" else PICTURES[:8]) + ODD
    learned = plain.fit(plain.features(images), kmeans)
    one, other = embedded(plain, learned, images), embedded(kernels, learned, images)
    assert furthest(one.vectors, other.vectors) < bound
    assert np.array_equal(one.blank, other.blank)
    assert kernels.embedder(learned).spec == plain.embedder(learned).spec
    assert (kernels.name, kernels.weights) == (plain.name, plain.weights)


@pytest.mark.parametrize("view", [GpuPixels(PixelSettings(), {}), GpuResNet(RESNET, {}), GpuSift(SIFT, {})], ids=lambda v: v.name)
def test_companions_and_order_do_not_matter(view: View) -> None:
    images = PICTURES[:5] + ODD
    embedder = view.embedder(view.fit(view.features(images), kmeans))
    together, order = embedder.embed(images), np.random.default_rng(0).permutation(len(images))
    assert np.array_equal(embedder.embed([images[i] for i in order]).vectors, together.vectors[order])
    assert np.array_equal(embedder.embed(images[4:5]).vectors, together.vectors[4:5])
    assert embedder.embed([]).vectors.shape == (0, embedder.spec.dim)


def test_whitening_is_that_of_the_cpu() -> None:
    rng = np.random.default_rng(0)
    whitening = Whitening(rng.normal(size=20).astype(np.float32), rng.normal(size=(20, 7)).astype(np.float32))
    vectors = rng.normal(size=(150, 20)).astype(np.float32)
    vectors[3] = whitening.mean
    assert np.allclose(
        GpuWhitening(whitening.mean, whitening.axes, "cpu").apply(vectors), whitening.apply(vectors), rtol=0, atol=1e-6
    )


@pytest.mark.gpu
@pytest.mark.skipif(cuda_devices() == 0, reason="PyTorch finds no NVIDIA GPU")
@pytest.mark.parametrize("device", ["cuda:0", "cuda:all"])
def test_the_gpu_computes_what_the_cpu_computes(device: str) -> None:
    for name, bound in (("pixels", 1e-5), ("resnet", 1e-2), ("sift", 1e-2)):
        plain = make_view(name, VIEWS[name], Decoding(), "cpu")
        learned = plain.fit(plain.features(PICTURES), kmeans)
        kernels = make_view(name, VIEWS[name], Decoding(), device)
        assert furthest(*(embedded(view, learned, PICTURES + ODD).vectors for view in (plain, kernels))) < bound
