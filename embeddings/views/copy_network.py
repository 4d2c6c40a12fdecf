"""The bundled network on the CPU, on PyTorch's C library alone: ready without the seconds that importing PyTorch takes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from embeddings.views import libtorch
from embeddings.views.libtorch import Library, Tensor, library
from embeddings.views.resnet_settings import BUNDLED, BUNDLED_DIGEST, check_bundled, standardised

CHANNELS = 512
BATCH = 8  # always full, as another size may change the last bits: small, since look-ups come one by one
_EPSILON = np.float32(1e-5)  # of batch normalisation
_STAGES, _BLOCKS = (1, 2, 3, 4), (0, 1)


class CopyNetwork:
    """A ResNet-18 for copies without its last layer: batches of square images in, pooled features out.

    The same arithmetic in the same order as `embeddings.views.network.Network`, which see. Any number of threads may use it.

    Attributes:
        digest: SHA-256 (hex) of the weights.
        precision: ``bfloat16`` or ``float32``.
        channels: length of a feature vector.

    Args:
        state: name -> array of the state dict.
        digest: as the attribute.
        library: PyTorch's.
        precision: by default bfloat16 where it is fast.
    """

    channels = CHANNELS

    def __init__(self, state: Mapping[str, NDArray[Any]], digest: str, library: Library, precision: str | None) -> None:
        full = {name: value.astype(np.float32) for name, value in state.items()}
        self.digest = digest
        self.precision = precision or ("bfloat16" if library.has_bfloat16() else "float32")
        self._library = library
        self._convolutions = {"conv1": self._folded(full, "conv1", "bn1")}
        for block in (f"layer{stage}.{number}" for stage in _STAGES for number in _BLOCKS):
            for place in (1, 2):
                self._convolutions[f"{block}.{place}"] = self._folded(full, f"{block}.conv{place}", f"{block}.bn{place}")
            if f"{block}.downsample.0.weight" in full:
                self._convolutions[f"{block}.across"] = self._folded(full, f"{block}.downsample.0", f"{block}.downsample.1")

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, size, size) float32 grey levels 0..255 -> (n, channels) float32."""
        out = np.empty((len(images), CHANNELS), np.float32)
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            out[start : start + BATCH] = pooled(self._body(part))[: len(part)]
        return out

    def maps(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, size, size) float32 grey levels, n > 0 -> (n, channels, h, w) float32: what is pooled."""
        parts = [self._body(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        return np.ascontiguousarray(np.concatenate(parts)[: len(images)].transpose(0, 3, 1, 2))

    def _body(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """At most `BATCH` images (n, size, size) through all layers before the pooling: (BATCH, h, w, channels) float32."""
        run, size = self._library, images.shape[1]
        batch = np.zeros((BATCH, size, size, 1), np.float32)
        batch[: len(images), :, :, 0] = standardised(images)[:, 0]
        with run.one_thread():
            x = run.max_pool(run.relu(run.convolution(self._tensor(batch), self._convolutions["conv1"], 2, 3)))
            for stage in _STAGES:
                for number in _BLOCKS:
                    x = self._block(x, f"layer{stage}.{number}", 2 if stage > 1 and number == 0 else 1)
        side = -(-size // 32)
        narrow = self.precision == "bfloat16"
        values = run.values(x, (BATCH, side, side, CHANNELS), np.uint16 if narrow else np.float32)
        return libtorch.float32(values) if narrow else values

    def _block(self, x: Tensor, name: str, stride: int) -> Tensor:
        """A residual block (He et al., CVPR 2016)."""
        run, weights = self._library, self._convolutions
        y = run.relu(run.convolution(x, weights[f"{name}.1"], stride, 1))
        y = run.convolution(y, weights[f"{name}.2"], 1, 1)
        across = weights.get(f"{name}.across")
        return run.relu(run.add(y, run.convolution(x, across, stride, 0) if across else x))

    def _folded(self, state: Mapping[str, NDArray[Any]], conv: str, norm: str) -> tuple[Tensor, Tensor]:
        """Filters and bias of a convolution with the normalisation behind it, folded as `fuse_conv_bn_eval` folds them."""
        weight, bias, mean, variance = (state[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var"))
        scale = np.float32(1) / np.sqrt(variance + _EPSILON)
        filters = state[f"{conv}.weight"] * (weight * scale)[:, None, None, None]
        shift = bias - mean * scale * weight
        return self._tensor(np.asarray(filters.transpose(0, 2, 3, 1), np.float32)), self._tensor(np.asarray(shift, np.float32))

    def _tensor(self, values: NDArray[np.float32]) -> Tensor:
        narrow = self.precision == "bfloat16"
        return self._library.tensor(libtorch.bfloat16(values) if narrow else np.ascontiguousarray(values), self.precision)


def pooled(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, h, w, c) -> (n, c): generalised mean, as `embeddings.views.network.GeneralisedMean` but for the last bit."""
    least = np.maximum(maps, np.float32(1e-6))
    return np.asarray(np.cbrt((least * least * least).mean(axis=(1, 2))), np.float32)


def bundled(precision: str | None = None) -> CopyNetwork | None:
    """The network that comes with the package; None where `library` gives none.

    Raises:
        WeightsError: its file was changed.
    """
    loaded = library()
    if loaded is None:
        return None
    check_bundled(BUNDLED)
    return CopyNetwork(load_file(BUNDLED), BUNDLED_DIGEST, loaded, precision)
