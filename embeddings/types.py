"""Types of embedding: metric, specification, embeddings, view, embedder. NumPy only."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

GreyImage = NDArray[np.uint8]  # (H, W)


class Metric(StrEnum):
    """How two vectors of a view are compared; in both a smaller distance is nearer."""

    HAMMING = "hamming"  # number of differing bits, int
    COSINE = "cosine"  # 1 - dot product of unit vectors, 0..2


@dataclass(frozen=True)
class EmbeddingSpec:
    """All that decides a view's vectors. Two sets of vectors can be compared where fingerprints are equal.

    Attributes:
        view: name of the view, e.g. ``phash``.
        dim: bits for ``hamming``, components for ``cosine``.
        metric: how vectors are compared.
        parameters: JSON-able settings, digests of weights and of fitted arrays included;
            device, precision and library versions are not part of it.

    Raises:
        ValueError: dim is not positive, or not a multiple of 8 for ``hamming``.
    """

    view: str
    dim: int
    metric: Metric
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dim <= 0 or (self.metric is Metric.HAMMING and self.dim % 8):
            raise ValueError(f"{self.view}: dim must be positive, and a multiple of 8 for hamming; got {self.dim}")

    @property
    def width(self) -> int:
        """Columns of the vector array: bytes for ``hamming``, components for ``cosine``."""
        return self.dim // 8 if self.metric is Metric.HAMMING else self.dim

    @property
    def dtype(self) -> type[np.uint8] | type[np.float32]:
        """Element type of the vector array."""
        return np.uint8 if self.metric is Metric.HAMMING else np.float32

    def as_dict(self) -> dict[str, Any]:
        """The spec as JSON-able values; `from_dict` reads it back."""
        return {"view": self.view, "dim": self.dim, "metric": str(self.metric), "parameters": dict(self.parameters)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EmbeddingSpec":
        """The spec that `as_dict` wrote."""
        return cls(values["view"], values["dim"], Metric(values["metric"]), dict(values["parameters"]))

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the canonical JSON of the spec."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    def differences(self, other: "EmbeddingSpec") -> list[str]:
        """One line for each setting in which the two specs differ, empty where they are equal."""
        mine = {"view": self.view, "dim": self.dim, "metric": str(self.metric), **self.parameters}
        theirs = {"view": other.view, "dim": other.dim, "metric": str(other.metric), **other.parameters}
        return [
            f"{self.view} {name}: {mine.get(name)!r} here, {theirs.get(name)!r} there"
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        ]


@dataclass(frozen=True)
class Embeddings:
    """Vectors of n images in one view.

    Attributes:
        spec: what made them.
        vectors: (n, dim / 8) uint8 for ``hamming``; (n, dim) float32 unit rows for ``cosine``; C order, finite.
        blank: (n,) bool; True where the view saw nothing in the image (nearly constant, no keypoints): the vector
            is defined, but its distances are no evidence.
        kept: as in `Features`.

    Raises:
        ValueError: shape, dtype, order or norm is not as above.
    """

    spec: EmbeddingSpec
    vectors: NDArray[Any]
    blank: NDArray[np.bool_]
    kept: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        spec, vectors = self.spec, self.vectors
        if vectors.ndim != 2 or vectors.shape[1] != spec.width or vectors.dtype != spec.dtype:
            raise ValueError(
                f"{spec.view}: vectors must be (n, {spec.width}) {spec.dtype.__name__}, got {vectors.shape} {vectors.dtype}"
            )
        if not vectors.flags.c_contiguous:
            raise ValueError(f"{spec.view}: vectors must be in C order")
        if self.blank.shape != (len(vectors),) or self.blank.dtype != np.bool_:
            raise ValueError(f"{spec.view}: blank must be ({len(vectors)},) bool, got {self.blank.shape} {self.blank.dtype}")
        if spec.metric is Metric.COSINE and len(vectors):
            norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
            if not np.allclose(norms, 1, atol=1e-4):  # NaN and infinity fail here too
                raise ValueError(f"{spec.view}: rows must be finite unit vectors, got norms {norms.min():.4g}..{norms.max():.4g}")

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True)
class Features:
    """What a view sees in n images before anything learned from data is applied: the costly part of embedding.

    Attributes:
        values: (m, width) for each image; m is 1 for views of the whole image, the number of local features for ``sift``.
        blank: (n,) bool, as in `Embeddings`.
        kept: (n, bytes) uint8, what a collection is to keep of each image besides its vector: keypoints, for view ``sift``.
    """

    values: Sequence[NDArray[Any]]
    blank: NDArray[np.bool_]
    kept: NDArray[np.uint8] | None = None


KMeans = Callable[[NDArray[np.float32], int, int], NDArray[np.float32]]  # (n, d) points, clusters, seed -> (clusters, d)


class Embedder(Protocol):
    """One view, ready to use: images in, vectors out. Safe to call from several threads."""

    @property
    def spec(self) -> EmbeddingSpec:
        """What the vectors will be."""

    def features(self, images: Sequence[GreyImage]) -> Features:
        """The costly part, the same for every state of `View.fit`."""

    def finish(self, features: Features) -> Embeddings:
        """The quick part: features to vectors, row for row."""

    def embed(self, images: Sequence[GreyImage]) -> Embeddings:
        """Vectors of the images, row for row; an image's vector does not depend on its companions."""


class View(Protocol):
    """One way of seeing an image, before it has learned from the generated images."""

    @property
    def name(self) -> str:
        """Name of the view: ``phash``, ``resnet``, ``sift``."""

    @property
    def note(self) -> str:
        """What a reader of results must know of this view, empty where there is nothing."""

    @property
    def precision(self) -> str:
        """Arithmetic that makes the vectors: a record, no part of the spec."""

    @property
    def weights(self) -> str:
        """SHA-256 (hex) of the weights it was trained with elsewhere, empty where it has none."""

    def features(self, images: Sequence[GreyImage]) -> Features:
        """As in `Embedder`."""

    def fit(self, features: Features, kmeans: KMeans) -> dict[str, NDArray[Any]]:
        """Learn from a sample: named arrays for `embedder`, none where the view learns nothing."""

    def embedder(self, learned: Mapping[str, NDArray[Any]]) -> Embedder:
        """The view with what `fit` learned."""
