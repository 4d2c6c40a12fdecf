"""Full whitening: what another reduction gives where all axes of a view count alike."""

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Metric
from embeddings.views.whitening import unit_rows
from query.comparison.reductions.driver import Reduction
from query.comparison.reductions.ridge import floats
from query.comparison.reductions.sides import GeneratedVectors, RealVectors
from query.comparison.reductions.tile import Tile, ViewTile

SHARE = 5  # generated images for each axis that is kept: with fewer, axes are those of single images
_STEP = 4096  # rows at a time

Factors = NDArray[np.float32]


def factors_of(vectors: NDArray[Any], blank: NDArray[np.bool_], metric: Metric) -> Factors:
    """(width,) by what each axis is multiplied so that generated images spread alike along all; 0 for axes that are left out.

    Views are whitened by half (`embeddings.views.whitening`): axes along which images differ little, in which a copy is like its
    source, count for less. Kept are the axes of the largest spread, one for every five images.

    Args:
        vectors, blank: of all generated images; blank ones do not count.
        metric: of the view.
    """
    seen = np.flatnonzero(~blank)
    width = floats(vectors[:1], metric).shape[1]
    total, squares = np.zeros(width), np.zeros(width)
    for start in range(0, len(seen), _STEP):
        rows = floats(vectors[seen[start : start + _STEP]], metric).astype(np.float64)
        total, squares = total + rows.sum(axis=0), squares + (rows**2).sum(axis=0)
    count = max(1, len(seen))
    spread = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0))
    kept = np.argsort(-spread, kind="stable")[: max(1, len(seen) // SHARE)]
    kept = kept[spread[kept] > 1e-6]
    factors = np.zeros(width, np.float32)
    factors[kept] = 1 / spread[kept]
    return factors


def whitened(vectors: NDArray[Any], metric: Metric, factors: Factors) -> NDArray[np.float32]:
    """(n, width) unit rows."""
    return unit_rows(floats(vectors, metric) * factors)


def whitened_real(real: RealVectors, factors: Factors) -> RealVectors:
    """Real images, whitened; a cosine view."""
    metric = real.spec.metric
    flipped = None if real.flipped is None else whitened(real.flipped, metric, factors)
    spec = replace(real.spec, dim=len(factors), metric=Metric.COSINE)
    return RealVectors(spec, whitened(real.vectors, metric, factors), flipped, real.blank)


class Whitened:
    """Reduction to what another one gives of whitened vectors.

    Args:
        view: that the other one looks at, and no more.
        real: all real images in it, from `whitened_real`.
        factors: see `factors_of`.
        reduction: made with these real images.
    """

    def __init__(self, view: str, real: RealVectors, factors: Factors, reduction: Reduction[Any]) -> None:
        self._view, self._real, self._factors, self._reduction = view, real, factors, reduction

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        seen = tile.views[self._view]
        vectors = whitened(seen.generated.vectors, seen.real.spec.metric, self._factors)
        view = ViewTile(self._real, GeneratedVectors(vectors, seen.generated_blank), seen.width)
        self._reduction.update(Tile(tile.first, {self._view: view}))

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._reduction.merge(other._reduction)

    def result(self) -> Any:
        """That of the other one."""
        return self._reduction.result()
