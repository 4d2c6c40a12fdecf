"""Networks of view `resnet` in PyTorch: their weights, their forward pass on any device, the network for copies to be trained."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from embeddings.files.writing import write_bytes
from embeddings.views.resnet_settings import (
    BATCH,
    BUNDLED,
    COPIES,
    COPY_DIM,
    ResNetSettings,
    WeightsError,
    check_bundled,
    standardised,
)
from embeddings.views.whitening import digest

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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


def check_downloaded(architecture: str) -> None:
    """See that torchvision's ImageNet weights are on this machine, for who must not download them.

    Raises:
        WeightsError: they are not.
    """
    url = str(_torchvision_models().get_model_weights(architecture).DEFAULT.url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        raise WeightsError(f"{path}: no such file, and no weights are downloaded here; fetch {url} elsewhere and put it there")


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
    check_bundled(path)
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
