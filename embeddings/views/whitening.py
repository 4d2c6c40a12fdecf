"""Centring and PCA whitening of vectors: removes what all generated images have in common."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# With fewer images than this their principal axes say more about the sample than about the collection.
MIN_SAMPLE = 64
# BLAS rounds a row by its place in the matrix and by the matrix' height. In blocks of always eight rows it does not.
_BLOCK = 8


@dataclass(frozen=True)
class Whitening:
    """`x -> normalise((x - mean) @ axes)`.

    Attributes:
        mean: (d,) float32.
        axes: (d, dim) float32, principal axes divided by (standard deviation along them) ** power.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    @property
    def dim(self) -> int:
        """Components of the result."""
        return int(self.axes.shape[1])

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, d) float32 -> (n, dim) float32 unit rows."""
        out = np.empty((len(vectors), self.dim), np.float32)
        block = np.zeros((_BLOCK, len(self.mean)), np.float32)
        for start in range(0, len(vectors), _BLOCK):
            part = vectors[start : start + _BLOCK]
            np.subtract(part, self.mean, out=block[: len(part)])
            out[start : start + _BLOCK] = (block @ self.axes)[: len(part)]
        return unit_rows(out)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The arrays that `from_arrays` takes."""
        return {"mean": self.mean, "axes": self.axes}

    @classmethod
    def from_arrays(cls, learned: Mapping[str, NDArray[Any]]) -> "Whitening | None":
        """What `fit_whitening` learned, None where the sample was too small for it."""
        return cls(learned["mean"], learned["axes"]) if "mean" in learned else None


def fit_whitening(sample: NDArray[np.float32], dim: int, power: float) -> Whitening | None:
    """Fit on (n, d) float32; None where n < `MIN_SAMPLE`, or where all vectors are the same.

    `power` 1 is PCA whitening, 0 PCA alone; between, small components are lifted less (Jegou and Chum, ECCV 2012; Husain and
    Bober, TPAMI 2017, on the exponent). Exact eigenvectors of the smaller of covariance and Gram matrix, in double precision.
    """
    if len(sample) < MIN_SAMPLE:
        return None
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = sample - mean
    wide = centred.shape[1] > len(centred)
    square = centred @ centred.T if wide else centred.T @ centred
    values, vectors = np.linalg.eigh(square.astype(np.float64))
    if values[-1] <= 0:
        return None
    # the rank is at most n - 1; float32 products leave noise below 1e-6 of the largest
    keep = np.flatnonzero(values > 1e-6 * values[-1])[::-1][:dim]
    values, vectors = values[keep], vectors[:, keep]
    axes = centred.T @ vectors.astype(np.float32) / np.sqrt(values) if wide else vectors
    spread = np.sqrt(values / (len(sample) - 1))
    return Whitening(mean, np.ascontiguousarray(axes / spread**power, np.float32))


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows divided by their length; a row of zeros becomes the first unit vector, so that it is defined."""
    vectors = np.array(vectors, np.float32, order="C")
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    empty = norms < 1e-12
    vectors[empty] = 0
    vectors[empty, 0] = 1
    vectors /= np.where(empty, 1, norms)[:, None].astype(np.float32)
    return vectors


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 (hex) of named arrays: names, types, shapes and bytes."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        sha.update(array.data)
    return sha.hexdigest()
