"""View `resnet`: features of a ResNet, centred and whitened on the generated images.

By default a ResNet-18 that comes with the package and was trained to recognise copies, on procedural pictures alone
(docs/NETWORK.md). Any ResNet of torchvision with its ImageNet weights, or with the reader's own, can take its place.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from embeddings.errors import SynthtraceError
from embeddings.files.writing import write_bytes
from embeddings.types import Embeddings, EmbeddingSpec, Features, GreyImage, KMeans, Metric
from embeddings.views.pixels import resized
from embeddings.views.whitening import Whitening, digest, fit_whitening, unit_rows

ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101")
BLANK_SPREAD = 1.0  # grey levels, as for phash
BATCH = 32  # always full: another batch size changes the last bits
BUNDLED = Path(__file__).with_name("resnet18_copies.safetensors")
BUNDLED_SHA256 = "b61a41b662a9df12dfbb7f7ceda1208c121e562fda792a83a6fef810a84592b7"
COPIES = "synthtrace copies"  # key in a file's metadata, of the card: the weights of a `copy_network`
COPY_DIM = 256  # components that a network for copies is trained on
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class WeightsError(SynthtraceError):
    """Weights cannot be had or do not fit; the message is one line with the mend."""


@dataclass(frozen=True)
class ResNetSettings:
    """Settings of the view; the values were chosen on procedural benchmarks (docs/NETWORK.md).

    Attributes:
        architecture: one of `ARCHITECTURES`.
        weights: ``bundled``, ``imagenet`` (torchvision's default weights, downloaded by torchvision), ``random:SEED``, or the
            path of a state dict, ``.pth`` or ``.safetensors``.
        size: images are resized to this square, pixels.
        dim: components after whitening.
        power: exponent of the whitening, 1 = full.

    Raises:
        ValueError: a value out of range.
    """

    architecture: str = "resnet18"
    weights: str = "bundled"
    size: int = 144
    dim: int = 256
    power: float = 0.75

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"resnet architecture must be one of {', '.join(ARCHITECTURES)}, got {self.architecture!r}")
        if self.size < 32 or self.dim <= 0 or not 0 <= self.power <= 1:
            raise ValueError(f"resnet: size >= 32, dim > 0, power in 0..1; got {self.size}, {self.dim}, {self.power}")


_loading = threading.Lock()


@dataclass(frozen=True)
class ResNet:
    """The view before it has learned a mean and axes. The network is loaded when it is first needed.

    Raises:
        WeightsError: on first use, where the weights cannot be loaded.
    """

    settings: ResNetSettings
    decoding: Mapping[str, Any]
    device: str = "cpu"
    name = "resnet"

    @property
    def note(self) -> str:
        """Nothing of the bundled network; what other one this is, and aloud that random weights are random."""
        if self.settings.weights == "bundled":
            return ""
        if self.settings.weights.startswith("random:"):
            return f"{self.settings.architecture} with seeded random weights ({self.settings.weights}): not trained on anything"
        return f"{self.settings.architecture} with weights {self.settings.weights}"

    @property
    def precision(self) -> str:
        """``bfloat16`` or ``float32``."""
        return self.network.precision

    @property
    def weights(self) -> str:
        """Digest of the network's weights, however they were named."""
        return self.network.digest

    @property
    def network(self) -> "Network":
        """The network on its device."""
        with _loading:  # every thread of a pool asks at once
            return self._network

    @cached_property
    def _network(self) -> "Network":
        return Network(self.settings, self.device)

    def features(self, images: Sequence[GreyImage]) -> Features:
        """Pooled features, each (1, channels) float32: 512, for ResNet-50 and 101 2048."""
        small = self.shrunk(images)
        blank = small.std(axis=(1, 2)) < BLANK_SPREAD
        return Features(list(self.network(small)[:, None]), np.asarray(blank))

    def maps(self, images: Sequence[GreyImage]) -> NDArray[np.float32]:
        """(n, channels, h, w) float32 feature maps of one image or more, before they are pooled; h is size / 32, rounded up."""
        return self.network.maps(self.shrunk(images))

    def shrunk(self, images: Sequence[GreyImage]) -> NDArray[np.float32]:
        """(n, size, size) float32 grey levels 0..255."""
        small = np.zeros((len(images), self.settings.size, self.settings.size), np.float32)
        for row, image in zip(small, images, strict=True):
            row[:] = resized(image, self.settings.size)
        return small

    def rows(self, features: Features) -> NDArray[np.float32]:
        """Features of n images as one array (n, channels)."""
        return np.array(features.values, np.float32).reshape(-1, self.network.channels)

    def fit(self, features: Features, kmeans: KMeans) -> dict[str, NDArray[Any]]:
        """Mean and whitened axes of the sample."""
        whitening = fit_whitening(self.rows(features), self.settings.dim, self.settings.power)
        return dict(whitening.arrays()) if whitening else {}

    def embedder(self, learned: Mapping[str, NDArray[Any]]) -> "ResNetEmbedder":
        """The view with its whitening."""
        return ResNetEmbedder(self, Whitening.from_arrays(learned), digest(learned))


@dataclass(frozen=True)
class ResNetEmbedder:
    """The view with its whitening; without one (a sample too small) features are only brought to unit length."""

    view: ResNet
    whitening: Whitening | None
    learned: str

    @cached_property
    def spec(self) -> EmbeddingSpec:
        """Cosine of whitened features. The weights count by content, not by name."""
        settings, network = self.view.settings, self.view.network
        parameters = {
            "architecture": settings.architecture,
            "weights": network.digest,
            "pixels": "imagenet" if settings.weights == "imagenet" else "standardised",
            "size": settings.size,
            "dim": settings.dim,
            "power": settings.power,
            "learned": self.learned,
            "decoding": dict(self.view.decoding),
        }
        return EmbeddingSpec("resnet", self.whitening.dim if self.whitening else network.channels, Metric.COSINE, parameters)

    def features(self, images: Sequence[GreyImage]) -> Features:
        """As `ResNet.features`."""
        return self.view.features(images)

    def finish(self, features: Features) -> Embeddings:
        """Features to (n, dim) float32 unit rows."""
        raw = self.view.rows(features)
        return Embeddings(self.spec, self.whitening.apply(raw) if self.whitening else unit_rows(raw), features.blank)

    def embed(self, images: Sequence[GreyImage]) -> Embeddings:
        """Vectors of the images."""
        return self.finish(self.features(images))


class Network:
    """A ResNet without its last layer: batches of square images in, pooled features out.

    Batch normalisation is folded into the convolutions, memory is in channels-last order, and arithmetic is bfloat16 where the
    processor has it: several times faster, and the cosine to float32 features stays above 0.9999.

    Attributes:
        digest: SHA-256 (hex) of the weights.
        precision: ``bfloat16`` or ``float32``.
        channels: length of a feature vector.
        planes: 1 where the network takes grey pictures, 3 where it takes colour.
        body: all layers before the pooling.
        pool: the pooling, in float32.

    Args:
        settings: which network.
        device: ``cpu`` or ``cuda:N``.
        dtype: of the arithmetic; by default bfloat16 where it is fast.
    """

    def __init__(self, settings: ResNetSettings, device: str, dtype: torch.dtype | None = None) -> None:
        module = load(settings)
        self.digest = digest({name: value.numpy() for name, value in module.state_dict().items() if not name.startswith("fc.")})
        self.planes = int(module.conv1.in_channels)
        self.channels = len(list(module.layer4.parameters())[-1])  # of the last normalisation
        self.device = torch.device(device)
        self.dtype = dtype or (torch.bfloat16 if _computes_bfloat16(self.device) else torch.float32)
        self.precision = str(self.dtype).removeprefix("torch.")
        self._imagenet = settings.weights == "imagenet"
        self.pool = nn.Sequential(module.avgpool, nn.Flatten())
        body = _body(module).to(self.device, self.dtype)
        self.body: nn.Module = body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # one stream of work to a GPU; on the CPU every thread computes for itself
        self._turn: AbstractContextManager[object] = threading.Lock() if self.device.type == "cuda" else nullcontext()

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, size, size) float32 grey levels 0..255 -> (n, channels) float32."""
        out = np.empty((len(images), self.channels), np.float32)
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            out[start : start + BATCH] = self.pooled(self.batch(part))[: len(part)]
        return out

    def batch(self, images: NDArray[np.float32]) -> torch.Tensor:
        """At most `BATCH` images (n, size, size) as what `body` takes: (BATCH, planes, size, size), zeros where there is none."""
        shape = (BATCH, self.planes, *images.shape[1:])
        batch = torch.empty(shape, dtype=self.dtype, device=self.device, memory_format=torch.channels_last).zero_()
        batch[: len(images)] = torch.from_numpy(self._standardise(images)).to(self.device, self.dtype)
        return batch

    def _standardise(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, s, s) -> (n, 3, s, s) or (n, 1, s, s); ImageNet weights get what they were trained with."""
        if self._imagenet:
            mean, std = (np.array(v, np.float32)[:, None, None] for v in (_IMAGENET_MEAN, _IMAGENET_STD))
            return np.asarray((images[:, None] / 255 - mean) / std)
        return standardised(images)

    def pooled(self, batch: torch.Tensor) -> NDArray[np.float32]:
        """(BATCH, channels) float32 features of a batch."""
        with torch.inference_mode(), self._turn:
            return np.asarray(self.pool(self.body(batch).float()).cpu().numpy())

    def maps(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, size, size) float32 grey levels, n > 0 -> (n, channels, h, w) float32: what `pooled` pools."""
        parts = []
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            with torch.inference_mode(), self._turn:
                parts.append(self.body(self.batch(part)).float().contiguous().cpu().numpy()[: len(part)])
        return np.concatenate(parts)


def standardised(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, s, s) -> (n, 1, s, s), each image to mean 0 and spread 1, so that window and gamma count little."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    return np.asarray((images - mean) / (images.std(axis=(1, 2), keepdims=True) + 1e-3))[:, None]


class GeneralisedMean(nn.Module):
    """Pooling (n, c, h, w) -> (n, c, 1, 1): mean of the cubes, cube root (Radenovic et al., TPAMI 2019, with p = 3)."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.float().clamp(min=1e-6).pow(3).mean(dim=(2, 3), keepdim=True).pow(1 / 3)


def copy_network(seed: int = 0) -> Any:
    """A ResNet-18 for copies, untrained: one grey channel in, `GeneralisedMean`, a last layer to `COPY_DIM` components.

    It is trained by its last layer and used without it, as in SimCLR. Its state dict is that of torchvision's module but for the
    shapes of ``conv1.weight`` and ``fc``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _torchvision_models().resnet18(weights=None)
        module.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        nn.init.kaiming_normal_(module.conv1.weight, mode="fan_out", nonlinearity="relu")
        module.avgpool = GeneralisedMean()
        module.fc = nn.Linear(512, COPY_DIM)
    return module


def load_copy_network(weights: str) -> Any:
    """A `copy_network` to be trained on.

    Args:
        weights: ``bundled``, or the path of a file that `save_copy_network` wrote.

    Raises:
        WeightsError: the file cannot be read, or is of another network.
    """
    module = load(ResNetSettings(weights=weights))
    if not isinstance(module.avgpool, GeneralisedMean):
        raise WeightsError(
            f"{weights}: no network for copies; start from the bundled weights, or from what synthtrace train wrote"
        )
    return module


def compute_with_one_thread() -> None:
    """Let the calling thread compute by itself: for pools with a thread for each core."""
    torch.set_num_threads(1)


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Seeded draws and one thread inside, so that a training on the CPU gives the same bytes on any number of cores."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def cuda_devices() -> int:
    """GPUs that this PyTorch can use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _computes_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _body(module: Any) -> nn.Module:
    """All layers before the pooling, batch normalisation folded into the convolutions (exact but for rounding)."""
    module.conv1, module.bn1 = fuse_conv_bn_eval(module.conv1, module.bn1), nn.Identity()
    for block in (b for layer in (module.layer1, module.layer2, module.layer3, module.layer4) for b in layer):
        for conv, norm in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")):
            if hasattr(block, conv):
                setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), getattr(block, norm)))
                setattr(block, norm, nn.Identity())
        if block.downsample is not None:
            block.downsample = fuse_conv_bn_eval(block.downsample[0], block.downsample[1])
    stem = (module.conv1, module.relu, module.maxpool)
    return nn.Sequential(*stem, module.layer1, module.layer2, module.layer3, module.layer4).eval()


def load(settings: ResNetSettings) -> Any:
    """The module in evaluation mode with its weights. Only a network for copies keeps its last layer, to be trained on."""
    if settings.weights.startswith("random:"):
        return _random(settings)
    bundled = settings.weights == "bundled"
    state, copies = ({}, False) if settings.weights == "imagenet" else _file_state(BUNDLED if bundled else Path(settings.weights))
    if copies and settings.architecture != "resnet18":
        other = f"for a {settings.architecture} name others, for example --resnet-weights imagenet"
        raise WeightsError(f"{settings.weights}: weights of a resnet18; {other}")
    with torch.random.fork_rng(devices=[]):
        module = copy_network() if copies else getattr(_torchvision_models(), settings.architecture)(weights=None)
    if not copies:
        module.fc = nn.Identity()
        state = _imagenet_state(settings) if settings.weights == "imagenet" else state
        state = {name: value for name, value in state.items() if not name.startswith("fc.")}
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{settings.weights}: its tensors do not have the shapes of {settings.architecture}") from error
    if missing or unexpected:
        wrong = f"lacks {missing[0]}" if missing else f"has {unexpected[0]} besides"
        raise WeightsError(f"{settings.weights}: no state dict of a torchvision {settings.architecture}; it {wrong}")
    if not all(torch.isfinite(tensor).all() for tensor in module.state_dict().values()):
        raise WeightsError(f"{settings.weights}: some of its weights are no finite numbers; take another file")
    return module.eval()


def _random(settings: ResNetSettings) -> Any:
    seed = settings.weights.removeprefix("random:")
    if not seed.isdecimal() or int(seed) >= 1 << 64:
        raise WeightsError(f"random weights are named random:SEED, for example random:0; got {settings.weights!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        module = getattr(_torchvision_models(), settings.architecture)(weights=None)
    module.fc = nn.Identity()
    return module.eval()


def _imagenet_state(settings: ResNetSettings) -> Mapping[str, torch.Tensor]:
    weights = _torchvision_models().get_model_weights(settings.architecture).DEFAULT
    try:
        state: Mapping[str, torch.Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, HTTPException, RuntimeError) as error:  # URLError is an OSError; a wrong hash a RuntimeError
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        reason = f"ImageNet weights could not be fetched from {weights.url} ({error})"
        raise WeightsError(f"{reason}; fetch that file elsewhere and put it into {folder}") from error
    return state


def _file_state(path: Path) -> tuple[Mapping[str, torch.Tensor], bool]:
    """A state dict, and whether it is one of a network for copies."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; weights are bundled, imagenet, random:SEED, or a .pth or .safetensors file")
    if path == BUNDLED and hashlib.sha256(path.read_bytes()).hexdigest() != BUNDLED_SHA256:
        raise WeightsError(f"{path}: not the weights that this version came with; install synthtrace again")
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, COPIES in (file.metadata() or {})  # noqa: SIM118
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise whatever their parsers raise
        reason = f"{path}: cannot be read as a state dict ({type(error).__name__}); save it with torch.save or safetensors"
        raise WeightsError(reason) from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path}: holds no plain state dict of tensors; save model.state_dict()")
    return state, False


def save_copy_network(module: nn.Module, path: Path, card: Mapping[str, Any]) -> None:
    """Write a `copy_network` in half precision, put in place at once; its card goes into the file's metadata as JSON."""
    from safetensors.torch import save

    state = {k: (v.half() if v.is_floating_point() else v).contiguous().cpu() for k, v in module.state_dict().items()}
    write_bytes(path, save(state, {COPIES: json.dumps(card, sort_keys=True)}))  # one entry: the order of several is random


_operators: list[Any] = []  # declarations hold as long as their object lives


def _torchvision_models() -> Any:
    """`torchvision.models`, also where torchvision was built against another PyTorch.

    PyPI's torchvision is linked to CUDA: beside a CPU PyTorch its import fails because its operators `nms` and `qnms` are not
    registered. The networks need neither, so declaring their signatures is enough.
    """
    try:
        from torchvision import models
    except RuntimeError as error:
        if "torchvision::nms" not in str(error) or _operators:
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _operators.append(library)
        return _torchvision_models()
    return models
