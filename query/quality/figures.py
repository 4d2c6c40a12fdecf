"""Fidelity figures of two sets of features: precision, recall, density, coverage, Fréchet and kernel distance.

Pure functions of feature vectors, compared by Euclidean distance. Distances are exact: features are rounded to a grid on which
no sum of products is rounded, so that a copy lies on a radius or not, and the same figures come from every machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import SynthtraceError

K = 5  # nearest neighbours of a radius, as in the example of prdc; Kynkaanniemi et al. take 3
_GRID = 2.0**26  # steps of a component of the longest vector, whose length is one half
_PAIRS = 4_000_000  # pairs compared at a time

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


class FidelityError(SynthtraceError, ValueError):
    """Fidelity cannot be measured as asked; the message is one line."""


class Figure(StrEnum):
    """The figures, in the order in which they are shown."""

    PRECISION = "precision"
    RECALL = "recall"
    DENSITY = "density"
    COVERAGE = "coverage"
    FRECHET = "frechet_distance"
    KERNEL = "kernel_distance"


@dataclass(frozen=True)
class Features:
    """Features of n images, and the grid that their distances are exact on.

    Attributes:
        rows: (n, d) float64, whole numbers of `step`.
        step: of the grid, the same for sets that are compared.
    """

    rows: Matrix
    step: float

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: NDArray[np.int64]) -> "Features":
        """These rows, in this order."""
        return Features(self.rows[rows], self.step)

    @property
    def values(self) -> Matrix:
        """(n, d) float64, the features."""
        return self.rows * self.step


def on_grid(*sets: NDArray[np.floating]) -> list[Features]:
    """Sets of features (n, d) on one grid. Each component moves by at most 2**-26 of the longest vector's length.

    Components are whole numbers, and no vector is longer than 2**25 of them: so products and their sums stay below 2**52, which
    float64 holds exactly, and neither order nor machine matters.
    """
    longest = max((float(np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1)).max()) for rows in sets if len(rows)), default=0.0)
    step = (longest or 1.0) * 2 / _GRID * (1 + 2**-10)  # rounding up must not pass the limit
    return [Features(np.rint(rows.astype(np.float64) / step), step) for rows in sets]


# Precision, recall, density, coverage, kernel distance: all of inner products, which are computed once


@dataclass(frozen=True)
class Own:
    """A set by itself, to be compared with others.

    Attributes:
        features: of n images.
        k: neighbours of a radius.
        radii: (n,) squared distance of each image to its k-th nearest other image, in steps.
        kernel: sum of the kernel over all pairs of different images.
    """

    features: Features
    k: int
    radii: Vector
    kernel: float

    @classmethod
    def of(cls, features: Features, k: int = K) -> "Own":
        """Compare a set with itself.

        Raises:
            FidelityError: k is below 1, or the set has not more than k images.
        """
        if k < 1 or len(features) <= k:
            raise FidelityError(f"{len(features)} images of a side are too few for k = {k}: it takes more images than neighbours")
        radii, total, lengths = np.empty(len(features)), 0.0, _lengths(features)
        for rows, products in _products(features, features):
            total += float(_kernel(products, features).sum())
            radii[rows] = np.partition(lengths[rows, None] + lengths - 2 * products, k, axis=1)[:, k]  # itself is nearest, at 0
        return cls(features, k, radii, total - float(_kernel(lengths, features).sum()))


def compared(real: Own, generated: Own) -> dict[Figure, float]:
    """Precision and recall (Kynkaanniemi et al., NeurIPS 2019), density and coverage (Naeem et al., ICML 2020), kernel distance.

    The radius of an image is the distance to its k-th nearest other image of its own set. Precision is the share of generated
    images within the radius of some real image; recall the share of real images within the radius of some generated one. Density
    counts the real images within whose radius a generated one lies, divided by k; coverage is the share of real images with a
    generated one within their radius. An image on the radius lies within, as in the first paper's code
    (github.com/kynkaat/improved-precision-and-recall-metric); the second's (github.com/clovaai/generative-evaluation-prdc) leaves
    it out, which differs only where distances are equal.

    The kernel distance is the squared maximum mean discrepancy with kernel ``(x.y / d + 1)^3``, without bias: KID (Binkowski et
    al., ICLR 2018). Of two samples of one distribution it is 0 on average, whatever their numbers; it may be negative.
    """
    n, m = len(real.features), len(generated.features)
    lengths = [_lengths(each.features) for each in (real, generated)]
    counts, total = np.zeros(m, np.int64), 0.0
    covered, recalled = np.zeros(n, bool), np.zeros(n, bool)
    for rows, products in _products(real.features, generated.features):
        total += float(_kernel(products, real.features).sum())
        squared = lengths[0][rows, None] + lengths[1] - 2 * products
        within = squared <= real.radii[rows, None]
        counts += within.sum(axis=0)
        covered[rows] = within.any(axis=1)
        recalled[rows] = (squared <= generated.radii).any(axis=1)
    return {
        Figure.PRECISION: float((counts > 0).mean()),
        Figure.RECALL: float(recalled.mean()),
        Figure.DENSITY: float(counts.mean() / real.k),
        Figure.COVERAGE: float(covered.mean()),
        Figure.KERNEL: real.kernel / (n * (n - 1)) + generated.kernel / (m * (m - 1)) - 2 * total / (n * m),
    }


def _lengths(features: Features) -> Vector:
    """(n,) squared lengths, in squared steps."""
    return np.asarray(np.einsum("ij,ij->i", features.rows, features.rows))


def _kernel(products: Matrix, features: Features) -> Matrix:
    """The kernel of inner products in squared steps."""
    values = products * (features.step**2 / features.rows.shape[1]) + 1
    return np.asarray(values * values * values)


def _products(first: Features, second: Features) -> Iterator[tuple[slice, Matrix]]:
    """Inner products in squared steps: rows of `first`, (rows, all of `second`)."""
    size = max(1, _PAIRS // max(1, len(second)))
    for start in range(0, len(first), size):
        rows = slice(start, start + size)
        yield rows, first.rows[rows] @ second.rows.T


# Fréchet distance


def frechet(first: Matrix, second: Matrix) -> float:
    """Fréchet distance of two normal distributions with the sets' means and covariances (Heusel et al., NeurIPS 2017).

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``, C with n - 1 below. The trace of the root is the sum of the singular values
    of ``C1^(1/2) C2^(1/2)``, which needs no root of a matrix that is not symmetric, and is defined where a set has fewer images
    than features. Biased: of two samples of one distribution it is above 0, the more the fewer images. Compare at equal numbers.

    Args:
        first, second: (n, d) and (m, d), at least 2 images each.
    """
    means = [each.mean(axis=0) for each in (first, second)]
    one, two = ((each - mean) / np.sqrt(len(each) - 1) for each, mean in zip((first, second), means, strict=True))
    trace = float((one**2).sum() + (two**2).sum())
    return max(float(((means[0] - means[1]) ** 2).sum()) + trace - 2 * _root_trace(one, two), 0.0)


def _root_trace(one: Matrix, two: Matrix) -> float:
    """``tr((C1 C2)^(1/2))`` of covariances ``one' one`` and ``two' two``."""
    one, two = (each if len(each) <= each.shape[1] else _root(each.T @ each) for each in (one, two))
    return float(np.linalg.svd(one @ two.T, compute_uv=False).sum())


def _root(square: Matrix) -> Matrix:
    """R with ``R' R`` the positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(square)
    return np.asarray(np.sqrt(np.maximum(values, 0))[:, None] * vectors.T)
