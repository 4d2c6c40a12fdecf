"""View `phash`: the perceptual hash (DCT) of an image, as a packed binary code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embeddings.types import Embeddings, EmbeddingSpec, Features, GreyImage, KMeans, Metric

# Grey levels. Below this spread after shrinking, noise and rounding decide the bits.
BLANK_SPREAD = 1.0
OVERSAMPLING = 4  # imagehash's highfreq_factor
# Frequencies nearer to the median leave a bit to rounding: sums of at most 64 x 64 whole numbers to 255, times 4 and cosines, are
# off by less than 128 * 2**-53 * 4 * 64**2 * 255 = 6e-8 for sums, and by as much again for twice cosines that are off by 1.4e-14
# at most (against long double).
CERTAIN = 1e-6


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
        cosines = _cosines(side, size)
        differences = _less_median(cosines @ small @ cosines.T)
        doubtful = np.abs(differences).min(axis=1) < CERTAIN
        if doubtful.any():  # as where an image is symmetrical
            differences[doubtful] = _less_median(_as_imagehash(small[doubtful])[:, :side, :side])
        codes = np.packbits(differences > 0, axis=1)
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


def _cosines(count: int, size: int) -> NDArray[np.float64]:
    """(count, size) float64: the first rows of the matrix of SciPy's DCT, type 2, not normalised."""
    frequency, place = np.arange(count)[:, None], np.arange(size)
    return np.asarray(2 * np.cos(np.pi / (2 * size) * frequency * (2 * place + 1)))


def _less_median(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, bits) of (n, side, side): each less the median of its image."""
    flat = frequencies.reshape(len(frequencies), frequencies.shape[1] * frequencies.shape[2])
    return np.asarray(flat - np.median(flat, axis=1, keepdims=True))


def _as_imagehash(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, size, size) all frequencies with the rounding of imagehash."""
    from scipy import fftpack  # takes longer to load than a look-up

    return np.asarray(fftpack.dct(fftpack.dct(images, axis=1), axis=2))
