"""Attribution: the weight of each real image in reconstructing generated ones, where all real images compete."""

from typing import Self

import numpy as np

from query.comparison.reductions.ridge import RIDGE, SPAN, Values, floats, weights
from query.comparison.reductions.sides import RealVectors
from query.comparison.reductions.tile import Tile

_STEP = 500  # generated images explained at a time
_TIE = 1e-12  # for each place in the order by contents: far less than codes differ


class Attribution:
    """Reduction to the cubic mean of the weights with which each real image takes part in explaining the generated ones.

    Each generated image is fitted by its 20 nearest real ones, least squares with a ridge; weights below 0 count as 0. Real
    images compete for every generated one, so that an image in the middle of all, which is near to everything, gains nothing by
    it; the cube lets a few large parts count more than many small ones. More real images, also unlabelled ones, make it
    sharper. It is the same for every order of images and knows no labels, so p-values stay valid. Flipped images are candidates
    of their own, and the larger value counts. Blank images take no part.

    Args:
        view: of the vectors.
        real: all real images in it.
        ridge: see `ridge.residual`.
    """

    def __init__(self, view: str, real: RealVectors, ridge: float = RIDGE) -> None:
        self._view, self._ridge = view, ridge
        self._seen = ~real.blank
        self._sides = [side for side in (real.vectors, real.flipped) if side is not None]
        self._candidates = np.concatenate([floats(side[self._seen], real.spec.metric) for side in self._sides])
        self._place = np.empty(len(self._candidates))
        self._place[np.lexsort(self._candidates.T)] = np.arange(len(self._candidates))
        self._cubes, self._count = np.zeros(len(self._candidates)), 0

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        view = tile.views[self._view]
        made = np.flatnonzero(~view.generated_blank)
        self._count += len(made)
        if not len(self._candidates):
            return
        span = min(SPAN, len(self._candidates))
        for start in range(0, len(made), _STEP):
            some = made[start : start + _STEP]
            products = [view.products(side)[np.ix_(self._seen, some)] for side in range(len(self._sides))]
            keys = _TIE * self._place - np.concatenate(products).T
            rows = np.argpartition(keys, span - 1, axis=1)[:, :span]
            images = floats(view.generated.vectors[some], view.real.spec.metric).astype(np.float64)
            share = np.maximum(weights(images, self._candidates[rows].astype(np.float64), self._ridge), 0)
            self._cubes += np.bincount(rows.ravel(), (share**3).ravel(), len(self._cubes))

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._cubes, self._count = self._cubes + other._cubes, self._count + other._count

    def result(self) -> Values:
        """(nr,) float64; 0 for an image that is among the nearest of none, NaN for a blank one."""
        value = np.full(len(self._seen), np.nan)
        mean = np.cbrt(self._cubes / max(1, self._count))
        value[self._seen] = mean.reshape(len(self._sides), -1).max(axis=0)
        return value
