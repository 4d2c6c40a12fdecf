"""The view `resnet` against torchvision's own forward pass; the network that comes with the package."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

from embeddings.phantoms.slices import copy_of, phantom
from embeddings.pipeline import in_order, one_thread_each
from embeddings.types import GreyImage
from embeddings.views import copy_network, network, resnet, resnet_settings
from embeddings.views.pixels import resized
from embeddings.views.resnet import ResNet
from embeddings.views.resnet_settings import ResNetSettings, WeightsError
from embeddings.views.whitening import MIN_SAMPLE
from indexer.search.faiss_index import kmeans
from tests.helpers.making import noise, slice_of
from tests.helpers.places import ROOT

QUICK = ResNetSettings(weights="random:0", size=32)
IMAGES = [slice_of(seed) for seed in range(5)] + [noise(1, (33, 90)), np.zeros((20, 20), np.uint8)]


@pytest.fixture(scope="module")
def view() -> ResNet:
    return ResNet(QUICK, {})


def module_of(settings: ResNetSettings, seed: int = 0) -> Any:
    """torchvision's network with seeded weights, by torchvision alone."""
    models = network._torchvision_models()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return getattr(models, settings.architecture)(weights=None).eval()


def by_torchvision(settings: ResNetSettings, images: list[GreyImage]) -> NDArray[np.float32]:
    """Plain float32 features of standardised images, image by image."""
    module = module_of(settings)
    module.fc = torch.nn.Identity()
    out = []
    for image in images:
        small = resized(image, settings.size).astype(np.float32)
        standard = (small - small.mean()) / (small.std() + 1e-3)
        with torch.no_grad():
            out.append(module(torch.from_numpy(standard)[None, None].expand(1, 3, -1, -1))[0].numpy())
    return np.array(out)


def rows(view: ResNet, images: list[GreyImage]) -> NDArray[np.float32]:
    return view.rows(view.features(images))


def cosines(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.einsum("ij,ij->i", a, b) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


@pytest.mark.parametrize("settings", [QUICK, ResNetSettings(weights="random:0")], ids=["32 pixels", "144 pixels"])
def test_features_equal_a_plain_forward_pass(settings: ResNetSettings) -> None:
    expected, got = by_torchvision(settings, IMAGES[:6]), rows(ResNet(settings, {}), IMAGES[:6])
    assert cosines(got, expected).min() > 0.999
    assert np.allclose(np.linalg.norm(got, axis=1), np.linalg.norm(expected, axis=1), rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["resnet34", "resnet50", "resnet101"])
def test_every_architecture_equals_a_plain_forward_pass(architecture: str) -> None:
    settings = ResNetSettings(architecture, "random:0", size=64)
    got = rows(ResNet(settings, {}), IMAGES[:6])
    assert got.shape == (6, 512 if architecture == "resnet34" else 2048)
    assert cosines(got, by_torchvision(settings, IMAGES[:6])).min() > 0.999


def test_companions_and_order_do_not_matter(view: ResNet) -> None:
    images = [slice_of(seed) for seed in range(MIN_SAMPLE)] + IMAGES
    embedder = view.embedder(view.fit(view.features(images), kmeans))
    assert embedder.whitening is not None
    together = embedder.embed(images)
    order = np.random.default_rng(0).permutation(len(images))[:45]
    shuffled = embedder.embed([images[i] for i in order])
    assert np.array_equal(shuffled.vectors, together.vectors[order])
    assert np.array_equal(shuffled.blank, together.blank[order])
    assert np.array_equal(embedder.embed(images[50:51]).vectors, together.vectors[50:51])
    assert embedder.embed([]).vectors.shape == (0, embedder.spec.dim)


def test_the_number_of_threads_does_not_matter(view: ResNet) -> None:
    """Building runs in a pool with one thread a core, a look-up in the main thread."""
    embedder = view.embedder({})
    (pooled,) = in_order(lambda images: embedder.embed(images).vectors, [IMAGES])
    with one_thread_each():
        assert np.array_equal(embedder.embed(IMAGES).vectors, pooled)


def test_blank_images_are_defined_and_flagged(view: ResNet) -> None:
    for embedder in (view.embedder({}), view.embedder(view.fit(view.features(IMAGES * 10), kmeans))):
        made = embedder.embed([*IMAGES, np.full((300, 5), 200, np.uint8)])
        assert made.blank.tolist() == [False] * 6 + [True, True]


def test_a_sample_of_blank_images_can_be_learned_from(view: ResNet) -> None:
    for count in (0, 1, MIN_SAMPLE):
        learned = view.fit(view.features([np.zeros((9, 9), np.uint8)] * count), kmeans)
        assert len(view.embedder(learned).embed(IMAGES)) == len(IMAGES)


def test_several_threads_share_one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Slow:
        def __init__(self, *_: object) -> None:
            made.append(threading.Event().wait(0.05))

    monkeypatch.setattr(network, "Network", Slow)
    view = ResNet(QUICK, {})
    networks: list[object] = []
    threads = [threading.Thread(target=lambda: networks.append(view.network)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(map(id, networks))) == 1


# Weights


def test_seeded_weights_are_the_same_in_every_process(view: ResNet) -> None:
    program = (
        "from embeddings.views.resnet import *; from embeddings.views.resnet_settings import *; "
        "print(ResNet(ResNetSettings(weights='random:0'), {}).weights)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == view.weights


def test_another_seed_and_another_network_are_other_weights(view: ResNet) -> None:
    chosen = [("resnet18", "random:1"), ("resnet34", "random:0")]
    others = [ResNet(ResNetSettings(architecture, weights, size=32), {}) for architecture, weights in chosen]
    assert len({view.weights, *(other.weights for other in others)}) == 3
    assert not np.allclose(rows(others[0], IMAGES[:1]), rows(view, IMAGES[:1]))


def test_the_global_source_of_chance_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(module_of(QUICK).state_dict(), path)
    before = torch.random.get_rng_state()
    for weights in ("random:3", str(path)):
        rows(ResNet(ResNetSettings(weights=weights, size=32), {}), IMAGES[:1])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_same_weights_by_file_and_by_seed_are_the_same_eyes(view: ResNet, tmp_path: Path) -> None:
    state = module_of(QUICK).state_dict()
    torch.save(state, tmp_path / "w.pth")
    safetensors.torch.save_file({k: v for k, v in state.items() if not k.startswith("fc.")}, tmp_path / "w.safetensors")
    expected = view.embedder({})
    for name in ("w.pth", "w.safetensors"):
        settings = ResNetSettings(weights=str(tmp_path / name), size=32)
        embedder = ResNet(settings, {}).embedder({})
        assert embedder.spec.fingerprint == expected.spec.fingerprint
        assert np.array_equal(embedder.embed(IMAGES).vectors, expected.embed(IMAGES).vectors)


def save(make: Callable[[Any], Any], name: str = "w.pth") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        torch.save(make(module_of(QUICK)), folder / name)
        return folder / name

    return write


def bad_bytes(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(b"these are no weights\n" * 9)
        return folder / name

    return write


def with_nan(module: Any) -> Any:
    state = module.state_dict()
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    return state


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda folder: folder / "none.pth", "no such file"),
        (lambda folder: folder, "no such file"),
        (bad_bytes("w.pth"), "cannot be read as a state dict"),
        (bad_bytes("w.safetensors"), "cannot be read as a state dict"),
        (save(lambda module: module), "cannot be read as a state dict"),  # a pickled module: never unpickled
        (save(lambda module: {"epoch": 3, "model": module.state_dict()}), "holds no plain state dict"),
        (save(lambda module: [1, 2]), "holds no plain state dict"),
        (save(lambda module: {f"module.{k}": v for k, v in module.state_dict().items()}), "it lacks conv1.weight"),
        (save(lambda module: {**module.state_dict(), "extra.weight": torch.zeros(1)}), "has extra.weight besides"),
        (save(lambda module: {**module.state_dict(), "conv1.weight": torch.zeros(3)}), "do not have the shapes of resnet18"),
        (save(with_nan), "no finite numbers"),
    ],
    ids=["missing", "folder", "bytes", "bytes.safetensors", "module", "nested", "list", "prefix", "extra", "shape", "nan"],
)
def test_weights_that_cannot_be_used_are_refused_in_one_line(write: Callable[[Path], Path], reason: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(WeightsError, match=reason) as caught:
        ResNet(ResNetSettings(weights=str(path)), {}).network  # noqa: B018 (the network is loaded here)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(module_of(QUICK).state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="no state dict of a torchvision resnet34; it lacks"):
        ResNet(ResNetSettings("resnet34", str(tmp_path / "w.pth")), {}).network  # noqa: B018


@pytest.mark.parametrize("weights", ["random:", "random:x", "random:-1", "random:²", f"random:{1 << 64}", "random"])
def test_seeds_that_are_none_are_refused(weights: str) -> None:
    with pytest.raises(WeightsError, match="random:SEED"):
        ResNet(ResNetSettings(weights=weights), {}).network  # noqa: B018


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("invalid hash value"), ConnectionResetError("reset")])
def test_imagenet_weights_without_network_name_the_mend(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    kind = network._torchvision_models().get_model_weights("resnet18")
    monkeypatch.setattr(kind, "get_state_dict", fail)
    with pytest.raises(WeightsError, match=r"fetch that file elsewhere and put it into .*checkpoints") as caught:
        ResNet(ResNetSettings(weights="imagenet"), {}).network  # noqa: B018
    assert "https://download.pytorch.org/models/resnet18" in str(caught.value)


def test_imagenet_weights_see_pixels_as_they_were_trained(view: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = network._torchvision_models().get_model_weights("resnet18")
    monkeypatch.setattr(kind, "get_state_dict", lambda *_, **__: module_of(QUICK).state_dict())
    imagenet = ResNet(ResNetSettings(weights="imagenet", size=32), {})
    module = module_of(QUICK)
    module.fc = torch.nn.Identity()
    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        small = [torch.from_numpy(resized(image, 32)).float() / 255 for image in IMAGES[:5]]
        expected = module(torch.stack([(image - mean) / std for image in small])).numpy()
    assert cosines(rows(imagenet, IMAGES[:5]), expected).min() > 0.999
    # the same weights, but other vectors: never comparable
    assert imagenet.weights == view.weights
    assert imagenet.embedder({}).spec.fingerprint != view.embedder({}).spec.fingerprint


# Set-up


FAKE = """
import torch
if not hasattr(torch.ops.torchvision, "nms"):
    raise RuntimeError({message!r})
"""


def fake_torchvision(folder: Path, message: str) -> None:
    """A torchvision that needs the operators of its own library, as PyPI's does beside a CPU PyTorch."""
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(FAKE.format(message=message))
    (folder / "torchvision" / "models.py").write_text("marker = 'the fake one'")


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("operator torchvision::nms does not exist", "the fake one"),
        ("something else is broken", "RuntimeError: something else is broken"),
    ],
)
def test_torchvision_for_another_pytorch_works(message: str, outcome: str, tmp_path: Path) -> None:
    fake_torchvision(tmp_path, message)
    program = """import sys; sys.path.insert(0, sys.argv[1])
from embeddings.views.network import _torchvision_models as m
print(m().marker)"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout + done.stderr).strip().splitlines()[-1] == outcome


@pytest.mark.parametrize("wrong", [{"architecture": "vgg16"}, {"size": 31}, {"dim": 0}, {"power": -0.1}, {"power": 1.1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="resnet"):
        ResNetSettings(**wrong)


def test_every_setting_is_in_the_fingerprint(view: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    made = view.network  # weights have tests of their own
    monkeypatch.setattr(network, "Network", lambda *_: made)
    monkeypatch.setattr(resnet, "bundled", lambda: made)
    changed: list[dict[str, Any]] = [{}, {"architecture": "resnet34"}, {"size": 40}, {"dim": 9}, {"power": 1.0}]
    specs = [ResNet(ResNetSettings(**settings), {}).embedder({}).spec for settings in changed]
    specs.append(ResNet(ResNetSettings(), {"low": 1.0}).embedder({}).spec)
    specs.append(ResNet(ResNetSettings(), {}).embedder({"mean": np.zeros(512), "axes": np.zeros((512, 512))}).spec)
    assert len({spec.fingerprint for spec in specs}) == len(specs)


def test_every_network_but_the_bundled_one_says_what_it_is() -> None:
    assert ResNet(ResNetSettings(), {}).note == ""
    assert "not trained" in ResNet(QUICK, {}).note
    assert "imagenet" in ResNet(ResNetSettings(weights="imagenet"), {}).note


# The network that comes with the package


@pytest.fixture(scope="module")
def bundled() -> ResNet:
    return ResNet(ResNetSettings(), {})


def test_the_bundled_network_equals_a_plain_forward_pass(bundled: ResNet) -> None:
    """In float32 from the file's own tensors, with pooling by its formula."""
    state = {name: value.float() for name, value in safetensors.torch.load_file(resnet_settings.BUNDLED).items()}
    module = module_of(QUICK)
    module.conv1, module.fc = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False), torch.nn.Linear(512, 256)
    module.load_state_dict(state)
    body = torch.nn.Sequential(*list(module.eval().children())[:-2])
    small = np.stack([resized(image, bundled.settings.size).astype(np.float32) for image in IMAGES[:6]])
    with torch.no_grad():
        maps = body(torch.from_numpy(np.stack([(s - s.mean()) / (s.std() + 1e-3) for s in small]))[:, None])
        expected = (maps.double() ** 3).mean(dim=(2, 3)).pow(1 / 3).numpy()
    assert cosines(rows(bundled, IMAGES[:6]), expected).min() > 0.999


def test_the_bundled_weights_are_small_half_precision_and_come_with_a_card() -> None:
    assert resnet_settings.BUNDLED.stat().st_size <= 25_000_000
    with safetensors.safe_open(resnet_settings.BUNDLED, "pt") as file:
        card = json.loads(file.metadata()["synthtrace copies"])
        kinds = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118 (no dictionary)
    assert kinds == {torch.float16, torch.int64}  # the latter counts batches
    assert {"data", "distortions", "commit", "recipe", "minutes", "validation"} <= set(card)
    assert "no real image" in card["data"]


def test_damaged_bundled_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(resnet_settings.BUNDLED.read_bytes())
    data[-1] ^= 1
    (tmp_path / "w.safetensors").write_bytes(data)
    for module in (copy_network, network, resnet_settings):
        monkeypatch.setattr(module, "BUNDLED", tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="install synthtrace again"):
        ResNet(ResNetSettings(), {}).network  # noqa: B018


def test_the_bundled_network_is_a_resnet18_and_says_so() -> None:
    with pytest.raises(WeightsError, match="for a resnet50 name others, for example --resnet-weights imagenet"):
        ResNet(ResNetSettings("resnet50"), {}).network  # noqa: B018


def test_the_bundled_network_needs_no_net(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("asked for the net")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert rows(ResNet(ResNetSettings(), {}), IMAGES[:1]).shape == (1, 512)


def distorted(image: GreyImage, kind: str, rng: np.random.Generator) -> GreyImage:
    """One of the ways of copying in which the network is meant to be better than chance weights."""
    if kind == "mirror":
        image = np.ascontiguousarray(image[:, ::-1])
    if kind == "crop":
        image = np.ascontiguousarray(image[20:-20, 20:-20])
    return copy_of(image, 5 if kind == "warp" else 2, rng)


@pytest.mark.parametrize("kind", ["warp", "mirror", "crop"])
def test_the_bundled_network_finds_sources_that_random_weights_miss(kind: str, bundled: ResNet) -> None:
    originals, rng = [phantom(7_000_000 + n) for n in range(60)], np.random.default_rng(7)
    copies = [distorted(image, kind, rng) for image in originals]
    found = []
    for view in (bundled, ResNet(ResNetSettings(weights="random:0"), {})):
        embedder = view.embedder({})
        likeness = embedder.embed(copies).vectors @ embedder.embed(originals).vectors.T
        found.append(np.mean(likeness.argmax(axis=1) == np.arange(len(originals))))
    assert found[0] >= 0.9
    assert found[0] > found[1] + 0.1


def test_what_a_training_saves_can_be_used(tmp_path: Path) -> None:
    module = network.copy_network(3)
    network.save_copy_network(module, tmp_path / "own.safetensors", {})
    own = ResNet(ResNetSettings(weights=str(tmp_path / "own.safetensors"), size=32), {})
    assert rows(own, IMAGES[:2]).shape == (2, 512)
    network.save_copy_network(network.copy_network(4), tmp_path / "other.safetensors", {})
    other = ResNet(ResNetSettings(weights=str(tmp_path / "other.safetensors"), size=32), {})
    assert own.weights != other.weights


@pytest.mark.gpu
@pytest.mark.skipif(network.cuda_devices() == 0, reason="PyTorch finds no NVIDIA GPU")
def test_the_gpu_sees_what_the_cpu_sees(view: ResNet) -> None:
    on_gpu = rows(ResNet(QUICK, {}, "cuda:0"), IMAGES[:6])
    assert cosines(on_gpu, rows(view, IMAGES[:6])).min() > 0.999
