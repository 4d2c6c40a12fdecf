"""View `pixels`: the grey levels of the downscaled image, centred and whitened.

The coarsest of the views and the one that sees what a real diffusion model keeps of its training images: no single copy of one,
but the neighbourhood that it left in the generated set (docs/MEMBERSHIP.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.types import Embeddings, EmbeddingSpec, Features, GreyImage, KMeans, Metric
from embeddings.views.whitening import Whitening, digest, fit_whitening, unit_rows

BLANK_SPREAD = 1.0  # grey levels; below, noise and rounding decide the direction


@dataclass(frozen=True)
class PixelSettings:
    """Settings of the view.

    Attributes:
        size: images are shrunk to this square, pixels.
        dim: components after whitening.
        power: exponent of the whitening, 1 = full.

    Raises:
        ValueError: a value out of range.
    """

    size: int = 64
    dim: int = 400
    power: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 8 or self.dim <= 0 or not 0 <= self.power <= 1:
            raise ValueError(f"pixels: size >= 8, dim > 0, power in 0..1; got {self.size}, {self.dim}, {self.power}")


@dataclass(frozen=True)
class Pixels:
    """The view before it has learned a mean and axes.

    Attributes:
        settings: see `PixelSettings`.
        decoding: how the pixels were decoded, for the spec.
    """

    settings: PixelSettings
    decoding: Mapping[str, Any]
    name = "pixels"
    note = ""
    precision = "float32"
    weights = ""

    def features(self, images: Sequence[GreyImage]) -> Features:
        """Grey levels of mean 0 and norm 1, each (1, size * size) float32."""
        side = self.settings.size
        rows = np.zeros((len(images), side * side), np.float32)
        for row, image in zip(rows, images, strict=True):
            row[:] = resized(image, side).ravel()
        rows -= rows.mean(axis=1, keepdims=True)
        return Features(list(unit_rows(rows)[:, None]), np.asarray(rows.std(axis=1) < BLANK_SPREAD))

    def rows(self, features: Features) -> NDArray[np.float32]:
        """Features of n images as one array (n, size * size)."""
        return np.array(features.values, np.float32).reshape(-1, self.settings.size**2)

    def fit(self, features: Features, kmeans: KMeans) -> dict[str, NDArray[Any]]:
        """Mean and whitened axes of the sample."""
        whitening = fit_whitening(self.rows(features), self.settings.dim, self.settings.power)
        return dict(whitening.arrays()) if whitening else {}

    def embedder(self, learned: Mapping[str, NDArray[Any]]) -> "PixelEmbedder":
        """The view with its whitening."""
        return PixelEmbedder(self, Whitening.from_arrays(learned), digest(learned))


@dataclass(frozen=True)
class PixelEmbedder:
    """The view with its whitening; without one (a sample too small) grey levels are compared as they are."""

    view: Pixels
    whitening: Whitening | None
    learned: str

    @cached_property
    def spec(self) -> EmbeddingSpec:
        """Cosine of whitened grey levels."""
        settings = self.view.settings
        dim = self.whitening.dim if self.whitening else settings.size**2
        parameters = {"size": settings.size, "dim": settings.dim, "power": settings.power, "learned": self.learned}
        return EmbeddingSpec("pixels", dim, Metric.COSINE, {**parameters, "decoding": dict(self.view.decoding)})

    def features(self, images: Sequence[GreyImage]) -> Features:
        """As `Pixels.features`."""
        return self.view.features(images)

    def finish(self, features: Features) -> Embeddings:
        """Features to (n, dim) float32 unit rows."""
        raw = self.view.rows(features)
        return Embeddings(self.spec, self.whitening.apply(raw) if self.whitening else raw, features.blank)

    def embed(self, images: Sequence[GreyImage]) -> Embeddings:
        """Vectors of the images."""
        return self.finish(self.features(images))


def resized(image: GreyImage, side: int) -> GreyImage:
    """(side, side): by area averages where the image is larger, else bilinear."""
    shrink = image.shape[0] >= side and image.shape[1] >= side
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR), np.uint8)
