"""PyTorch's C library gives what PyTorch gives, bit for bit; so does the bundled network on it."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from embeddings.phantoms.slices import phantom
from embeddings.views import copy_network, libtorch, resnet
from embeddings.views.copy_network import BATCH, CopyNetwork
from embeddings.views.libtorch import Library
from embeddings.views.network import Network
from embeddings.views.pixels import resized
from embeddings.views.resnet import ResNet
from embeddings.views.resnet_settings import BUNDLED_DIGEST, ResNetSettings
from tests.helpers.places import ROOT

PRECISIONS = ["float32", "bfloat16"]


@pytest.fixture(scope="module")
def library() -> Library:
    loaded = libtorch.library()
    if loaded is None:
        pytest.skip("PyTorch's library is of another kind here")
    return loaded


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PyTorch of another kind."""
    for module in (copy_network, resnet):
        monkeypatch.setattr(module, "library", lambda: None)


def shrunk(count: int, size: int = 144) -> NDArray[np.float32]:
    return np.stack([resized(phantom(number, 160), size) for number in range(count)]).astype(np.float32)


def light(precision: str) -> CopyNetwork:
    made = copy_network.bundled(precision)
    assert made is not None
    return made


def test_bfloat16_is_rounded_as_by_pytorch() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 100_000, np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    halfway = (bits & 0xFFFF0000 | 0x8000).view(np.float32)  # of two as near the even one
    for some in (values, halfway):
        finite = some[np.isfinite(some)]
        expected = torch.from_numpy(finite).bfloat16()
        assert np.array_equal(libtorch.bfloat16(finite), expected.view(torch.uint16).numpy())
        assert np.array_equal(libtorch.float32(libtorch.bfloat16(finite)), expected.float().numpy())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", [32, 100, 144])
@pytest.mark.usefixtures("library")
def test_the_bundled_network_gives_the_maps_of_pytorch_bit_for_bit(precision: str, size: int) -> None:
    images = shrunk(3, size)
    expected = Network(ResNetSettings(size=size), "cpu", getattr(torch, precision))
    made = light(precision)
    assert np.array_equal(made.maps(images), expected.maps(images))
    assert np.allclose(made(images), expected(images), rtol=2e-6, atol=0)  # pooled in another order
    assert (made.digest, made.precision, made.channels) == (expected.digest, precision, expected.channels)


@pytest.mark.usefixtures("library")
def test_companions_and_threads_do_not_matter() -> None:
    images, network = shrunk(BATCH + 3, 64), light("float32")
    together = network(images)
    assert np.array_equal(network(images[5:6]), together[5:6])
    assert network(images[:0]).shape == (0, 512)
    found: list[NDArray[np.float32]] = []
    threads = [threading.Thread(target=lambda: found.append(network(images))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(each, together) for each in found)


def test_one_thread_is_for_as_long_as_asked(library: Library) -> None:
    before = library._openmp.omp_get_max_threads()
    library._openmp.omp_set_num_threads(3)
    try:
        with library.one_thread():
            assert library._openmp.omp_get_max_threads() == 1
        with pytest.raises(ZeroDivisionError), library.one_thread():
            _ = 1 / 0
        assert library._openmp.omp_get_max_threads() == 3
    finally:
        library._openmp.omp_set_num_threads(before)


def test_what_pytorch_refuses_is_told(library: Library) -> None:
    images = library.tensor(np.zeros((1, 4, 4, 2), np.float32), "float32")
    filters = library.tensor(np.zeros((3, 1, 1, 5), np.float32), "float32")
    bias = library.tensor(np.zeros(3, np.float32), "float32")
    with pytest.raises(RuntimeError, match=r"PyTorch: .*expected input.* to have 5 channels"):
        library.convolution(images, (filters, bias), 1, 0)


def test_tensors_are_freed(library: Library) -> None:
    """A look-up makes dozens of them, a service for months."""

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    images = library.tensor(np.zeros((1, 512, 512, 16), np.float32), "float32")
    for _ in range(5):
        library.relu(images)
    before = resident()
    for _ in range(50):
        library.max_pool(library.add(images, library.relu(images)))
    assert resident() < before + 5 * 512 * 512 * 16 * 4


def test_the_digest_of_the_bundled_weights_is_theirs() -> None:
    assert Network(ResNetSettings(), "cpu").digest == BUNDLED_DIGEST


@pytest.mark.usefixtures("without_library")
def test_without_the_library_pytorch_computes() -> None:
    view = ResNet(ResNetSettings(size=32), {})
    assert not view.is_light
    assert isinstance(view.network, Network)


@pytest.mark.parametrize(
    ("settings", "device", "expected"),
    [
        (ResNetSettings(), "cpu", True),
        (ResNetSettings(), "cuda:0", False),
        (ResNetSettings(weights="random:0"), "cpu", False),
        (ResNetSettings(weights="own.safetensors"), "cpu", False),
        (ResNetSettings("resnet50"), "cpu", False),
    ],
)
@pytest.mark.usefixtures("library")
def test_only_the_bundled_network_on_the_cpu_is_light(settings: ResNetSettings, device: str, expected: bool) -> None:
    assert ResNet(settings, {}, device).is_light == expected


@pytest.mark.usefixtures("library")
def test_pytorch_can_be_imported_after_the_library() -> None:
    program = """
import numpy as np
from embeddings.views.copy_network import bundled
images = np.random.default_rng(0).integers(0, 256, (2, 64, 64)).astype(np.float32)
before = bundled().maps(images)
import sys; assert "torch" not in sys.modules
from embeddings.views.network import Network
from embeddings.views.resnet_settings import ResNetSettings
assert np.array_equal(Network(ResNetSettings(size=64), "cpu").maps(images), before)
assert np.array_equal(bundled().maps(images), before)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
