"""Attribution: the weight of each real image in reconstructing generated ones, where patients compete."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from query.comparison.reductions.ridge import RIDGE, SPAN, Values, floats
from query.comparison.reductions.sides import RealVectors
from query.comparison.reductions.tile import Tile

_STEP = 500  # generated images explained at a time
_PAIRS = 10_000  # weights computed at a time
_TIE = 1e-12  # for each place in the order by contents: far less than codes differ


class Attribution:
    """Reduction to the cubic mean of the weights with which each real image takes part in explaining the generated ones.

    A real image's rivals for a generated one are of other groups (patients), and each group sends one: its nearest image. The
    generated image is fitted by the real one and its 19 nearest rivals, least squares with a ridge; weights below 0 count as 0,
    and so does an image with 20 nearer rivals. So an image of a patient with many slices meets the same rivals as one of a
    patient with a single slice: its own slices take nothing from it. Real images compete for every generated one, so that an
    image in the middle of all, which is near to everything, gains nothing by it; the cube lets a few large parts count more than
    many small ones. More real images, also unlabelled ones, make it sharper. It is the same for every order of images and knows
    no labels, so p-values stay valid. Flipped images are candidates of their own, and the larger value counts. Blank images take
    no part.

    Memory: 4 bytes for each pair of real images where a group has several.

    Args:
        view: of the vectors.
        real: all real images in it.
        groups: (nr,) which real images belong together; of any type that can be sorted.
        ridge: see `ridge.residual`.
    """

    def __init__(self, view: str, real: RealVectors, groups: NDArray[Any], ridge: float = RIDGE) -> None:
        self._view, self._ridge = view, ridge
        self._seen = ~real.blank
        sides = [side for side in (real.vectors, real.flipped) if side is not None]
        vectors = np.concatenate([floats(side[self._seen], real.spec.metric) for side in sides])
        names, member = np.unique(np.tile(groups[self._seen], len(sides)), return_inverse=True)
        self._sides, self._by_group = len(sides), np.argsort(member.ravel(), kind="stable")
        self._candidates, self._groups = vectors[self._by_group], member.ravel()[self._by_group]
        self._starts = np.searchsorted(self._groups, np.arange(len(names)))
        self._place = np.empty(len(vectors))
        self._place[np.lexsort(self._candidates.T)] = np.arange(len(vectors))
        self._gram = None if len(names) == len(vectors) else self._candidates @ self._candidates.T
        self._cubes, self._count = np.zeros(len(vectors)), 0

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        view = tile.views[self._view]
        made = np.flatnonzero(~view.generated_blank)
        self._count += len(made)
        if not len(self._candidates):
            return
        for start in range(0, len(made), _STEP):
            some = made[start : start + _STEP]
            products = np.concatenate([view.products(side)[np.ix_(self._seen, some)] for side in range(self._sides)])
            self._add(products[self._by_group].T.astype(np.float64))

    def _add(self, products: Values) -> None:
        """Count the weights of candidates in some generated images: (m, candidates) products with them."""
        keys = _TIE * self._place - products
        rivals, limit = self._rivals(keys)
        between = self._products_of(rivals)
        inverse = np.linalg.inv(between + self._ridge * np.eye(rivals.shape[1]))
        fit = np.einsum("mij,mj->mi", inverse, np.take_along_axis(products, rivals, 1))
        images, candidates = np.nonzero(keys < limit[:, None])
        for start in range(0, len(images), _PAIRS):
            image, candidate = images[start : start + _PAIRS], candidates[start : start + _PAIRS]
            place = np.argmax(self._groups[rivals[image]] == self._groups[candidate][:, None], axis=1)
            own: Values = between[image, place]
            if self._gram is not None:
                own = self._gram[candidate[:, None], rivals[image]].astype(np.float64)
            left: Values = inverse[image].astype(np.float64)
            weights = _without_own_group(products[image, candidate], own, left, fit[image], place, self._ridge)
            self._cubes += np.bincount(candidate, np.maximum(weights, 0) ** 3, len(self._cubes))

    def _rivals(self, keys: Values) -> tuple[NDArray[np.int64], Values]:
        """(m, 20) the nearest candidates of the 20 nearest groups, and (m,) the key of the next group's, infinite without one."""
        best = np.minimum.reduceat(keys, self._starts, axis=1)
        span = min(SPAN, len(self._starts))
        near = np.argsort(best, axis=1, kind="stable")
        limit = np.take_along_axis(best, near[:, [span]], 1)[:, 0] if len(self._starts) > span else np.full(len(keys), np.inf)
        columns = np.where(keys == best[:, self._groups], np.arange(keys.shape[1]), -1)
        nearest = np.maximum.reduceat(columns, self._starts, axis=1)
        return np.take_along_axis(nearest, near[:, :span], 1), limit

    def _products_of(self, rivals: NDArray[np.int64]) -> Values:
        """(m, k, k) products of the rivals with each other."""
        vectors = self._candidates[rivals].astype(np.float64)
        return vectors @ vectors.transpose(0, 2, 1)

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._cubes, self._count = self._cubes + other._cubes, self._count + other._count

    def result(self) -> Values:
        """(nr,) float64; 0 for an image that is among the nearest of none, NaN for a blank one."""
        cubes, value = np.empty_like(self._cubes), np.full(len(self._seen), np.nan)
        cubes[self._by_group] = self._cubes
        value[self._seen] = np.cbrt(cubes / max(1, self._count)).reshape(self._sides, -1).max(axis=0)
        return value


def _without_own_group(
    products: Values, between: Values, inverse: Values, fit: Values, place: NDArray[np.int64], ridge: float
) -> Values:
    """(p,) weight of each candidate in the fit by itself and the rivals of other groups, by block inversion.

    Args:
        products: (p,) of the candidate with the generated image.
        between: (p, k) of the candidate with the k rivals.
        inverse: (p, k, k) of the rivals' products plus the ridge.
        fit: (p, k) weights in the fit by all rivals.
        place: (p,) which rival is of the candidate's own group: it is taken out.
        ridge: of the fit.
    """
    pairs = np.arange(len(place))
    out, pivot = inverse[pairs, place], inverse[pairs, place, place]
    along = np.einsum("pi,pi->p", out, between)
    explained = np.einsum("pi,pi->p", fit, between) - along * fit[pairs, place] / pivot
    known = np.einsum("pi,pij,pj->p", between, inverse, between, optimize=True) - along**2 / pivot
    return np.asarray((products - explained) / (1 + ridge - known))
