"""View `resnet`: features of a ResNet, centred and whitened on the generated images.

By default a ResNet-18 that comes with the package and was trained to recognise copies, on procedural pictures alone
(docs/NETWORK.md). Any ResNet of torchvision with its ImageNet weights, or with the reader's own, can take its place.

Two classes compute, with equal results: `embeddings.views.network.Network` every network on every device, and
`embeddings.views.copy_network.CopyNetwork` the bundled one on the CPU, without the seconds that PyTorch takes to be imported.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Embeddings, EmbeddingSpec, Features, GreyImage, KMeans, Metric
from embeddings.views.copy_network import bundled
from embeddings.views.libtorch import library
from embeddings.views.pixels import resized
from embeddings.views.resnet_settings import ResNetSettings
from embeddings.views.whitening import Whitening, digest, fit_whitening, unit_rows

BLANK_SPREAD = 1.0  # grey levels, as for phash


class Computes(Protocol):
    """A network on its device.

    Attributes:
        digest: SHA-256 (hex) of the weights.
        precision: ``bfloat16`` or ``float32``.
        channels: length of a feature vector.
    """

    digest: str
    precision: str
    channels: int

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, size, size) float32 grey levels 0..255 -> (n, channels) float32."""

    def maps(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same, n > 0 -> (n, channels, h, w) float32: what is pooled."""


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
    def is_light(self) -> bool:
        """Whether it computes without Python's PyTorch."""
        chosen = (self.device, self.settings.architecture, self.settings.weights)
        return chosen == ("cpu", "resnet18", "bundled") and library() is not None

    @property
    def precision(self) -> str:
        """``bfloat16`` or ``float32``."""
        return self.network.precision

    @property
    def weights(self) -> str:
        """Digest of the network's weights, however they were named."""
        return self.network.digest

    @property
    def network(self) -> Computes:
        """The network on its device."""
        with _loading:  # every thread of a pool asks at once
            return self._network

    @cached_property
    def _network(self) -> Computes:
        if self.is_light and (light := bundled()) is not None:
            return light
        from embeddings.views.network import Network

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
