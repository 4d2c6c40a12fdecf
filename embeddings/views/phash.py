"""View `phash`: the perceptual hash (DCT) of an image, as a packed binary code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fftpack

from embeddings.types import Embeddings, EmbeddingSpec, Features, GreyImage, KMeans, Metric

# Grey levels. Below this spread after shrinking, noise and rounding decide the bits.
BLANK_SPREAD = 1.0
OVERSAMPLING = 4  # imagehash's highfreq_factor


@dataclass(frozen=True)
class PHash:
    """`imagehash.phash(image, hash_size)` of 8-bit grey images, bit for bit (imagehash 4.3, Zauner 2010), packed row by row.

    Attributes:
        bits: 256 (hash_size 16) or 64 (hash_size 8).
        decoding: how the pixels were decoded, for the spec.

    Raises:
        ValueError: another number of bits.
    """

    bits: int
    decoding: Mapping[str, Any]
    name = "phash"
    note = ""
    precision = "float64"
    weights = ""

    def __post_init__(self) -> None:
        if self.bits not in (64, 256):
            raise ValueError(f"phash has 64 or 256 bits, got {self.bits}")

    @property
    def spec(self) -> EmbeddingSpec:
        """Binary codes of `bits` bits."""
        return EmbeddingSpec(self.name, self.bits, Metric.HAMMING, {"decoding": dict(self.decoding)})

    def features(self, images: Sequence[GreyImage]) -> Features:
        """Codes, each (1, bits / 8) uint8: the sign of each low frequency against their median."""
        side = round(self.bits**0.5)
        size = side * OVERSAMPLING
        small = np.empty((len(images), size, size))
        for row, image in zip(small, images, strict=True):
            row[:] = Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)
        frequencies = fftpack.dct(fftpack.dct(small, axis=1), axis=2)[:, :side, :side].reshape(len(images), self.bits)
        median = np.median(frequencies, axis=1, keepdims=True)
        codes = np.packbits(frequencies > median, axis=1)
        return Features(list(codes[:, None]), small.std(axis=(1, 2)) < BLANK_SPREAD)

    def finish(self, features: Features) -> Embeddings:
        """The codes as one array (n, bits / 8) uint8."""
        return Embeddings(self.spec, np.array(features.values, np.uint8).reshape(-1, self.bits // 8), features.blank)

    def embed(self, images: Sequence[GreyImage]) -> Embeddings:
        """Codes of the images."""
        return self.finish(self.features(images))

    def fit(self, features: Features, kmeans: KMeans) -> dict[str, NDArray[Any]]:
        """Nothing: a hash has nothing to learn."""
        return {}

    def embedder(self, learned: Mapping[str, NDArray[Any]]) -> "PHash":
        """Itself."""
        return self
