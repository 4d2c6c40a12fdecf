"""Attribution: the weight of each real image in reconstructing generated ones, where patients compete."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from query.comparison.reductions.ridge import RIDGE, SPAN, Values, floats
from query.comparison.reductions.rivals import Rivals
from query.comparison.reductions.sides import RealVectors
from query.comparison.reductions.tile import Tile

POWERS = (3, 6)  # of the means: the higher, the more the largest weights count
_STEP = 500  # generated images explained at a time
_PAIRS = 10_000  # weights computed at a time
_TIE = 1e-12  # for each place in the order by contents: far less than codes differ


class Attribution:
    """Reduction to power means of the weights with which each real image takes part in explaining the generated ones.

    A real image's rivals for a generated one are of other groups (patients), see `Rivals`; each group sends one, its nearest
    image. The generated image is fitted by the real one and its 19 nearest rivals, least squares with a ridge; weights below 0
    count as 0, and so does an image with 20 nearer rivals. Real images compete for every generated one, so that an image in the
    middle of all, which is near to everything, gains nothing by it. The cubic mean sees an image that has a part in many
    generated ones, the mean of sixth powers one that was copied a few times. More real images, also unlabelled ones, make both
    sharper. They are the same for every order of images and know no labels, so p-values stay valid. Flipped images are
    candidates of their own, and the larger value counts. Blank images take no part.

    Memory: 4 bytes for each pair of real images where a group has several.

    Args:
        view: of the vectors.
        real: all real images in it.
        rivals: of all real images.
        ridge: see `ridge.residual`.
    """

    def __init__(self, view: str, real: RealVectors, rivals: Rivals, ridge: float = RIDGE) -> None:
        self._view, self._ridge = view, ridge
        self._seen = ~real.blank
        sides = [side for side in (real.vectors, real.flipped) if side is not None]
        vectors = np.concatenate([floats(side[self._seen], real.spec.metric) for side in sides])
        own = rivals.among(self._seen)
        member, self._excluded = np.tile(own.group, len(sides)), own.excluded
        self._sides, self._by_group = len(sides), np.argsort(member, kind="stable")
        self._candidates, self._groups = vectors[self._by_group], member[self._by_group]
        self._starts = np.searchsorted(self._groups, np.arange(len(self._excluded)))
        self._place = np.empty(len(vectors))
        self._place[np.lexsort(self._candidates.T)] = np.arange(len(vectors))
        self._gram = None if len(self._excluded) == len(vectors) else self._candidates @ self._candidates.T
        self._sums, self._count = np.zeros((len(POWERS), len(vectors))), 0

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
        near, limit = self._nearest(keys)
        between = self._products_of(near)
        inverse = np.linalg.inv(between + self._ridge * np.eye(near.shape[1]))
        fit = np.einsum("mij,mj->mi", inverse, np.take_along_axis(products, near, 1))
        images, candidates = np.nonzero(keys < limit[:, None])
        for start in range(0, len(images), _PAIRS):
            image, candidate = images[start : start + _PAIRS], candidates[start : start + _PAIRS]
            reached = np.take_along_axis(keys[image], near[image], 1)
            rival, inside = self._rivals(near[image], keys[image, candidate], reached, candidate)
            image, candidate, rival = image[inside], candidate[inside], rival[inside]
            place = np.argmax(self._groups[near[image]] == self._groups[candidate][:, None], axis=1)
            own: Values = between[image, place]
            if self._gram is not None:
                own = self._gram[candidate[:, None], near[image]].astype(np.float64)
            left: Values = inverse[image].astype(np.float64)
            weights = _fitted_with(products[image, candidate], own, left, fit[image], rival, self._ridge)
            for row, power in enumerate(POWERS):
                self._sums[row] += np.bincount(candidate, np.maximum(weights, 0) ** power, self._sums.shape[1])

    def _nearest(self, keys: Values) -> tuple[NDArray[np.int64], Values]:
        """(m, k) the nearest candidate of each of the nearest groups, enough of them when some are excluded; and (m,) a limit.

        A candidate that is not below the limit has 20 nearer rivals.
        """
        best = np.minimum.reduceat(keys, self._starts, axis=1)
        count = SPAN + self._excluded.shape[1]
        near = np.argsort(best, axis=1, kind="stable")[:, :count]
        full = near.shape[1] == count
        limit = np.take_along_axis(best, near[:, -1:], 1)[:, 0] if full else np.full(len(keys), np.inf)
        columns = np.where(keys == best[:, self._groups], np.arange(keys.shape[1]), -1)
        return np.take_along_axis(np.maximum.reduceat(columns, self._starts, axis=1), near, 1), limit

    def _rivals(
        self, near: NDArray[np.int64], key: Values, keys: Values, candidate: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(p, k) which of the nearest are the candidate's 19 rivals, and (p,) whether no 20 are nearer than it.

        Args:
            near: (p, k) nearest of each group.
            key, keys: (p,) of the candidates, (p, k) of the nearest.
            candidate: (p,).
        """
        excluded = self._excluded[self._groups[candidate]]
        sends = ~(self._groups[near][:, :, None] == excluded[:, None]).any(axis=2)
        rank = np.cumsum(sends, axis=1)
        return sends & (rank < SPAN), ~(sends & (rank == SPAN) & (keys < key[:, None])).any(axis=1)

    def _products_of(self, rivals: NDArray[np.int64]) -> Values:
        """(m, k, k) products of the rivals with each other."""
        vectors = self._candidates[rivals].astype(np.float64)
        return vectors @ vectors.transpose(0, 2, 1)

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._sums, self._count = self._sums + other._sums, self._count + other._count

    def result(self) -> Values:
        """(powers, nr) float64; 0 for an image that is among the nearest of none, NaN for a blank one."""
        sums, value = np.empty_like(self._sums), np.full((len(POWERS), len(self._seen)), np.nan)
        sums[:, self._by_group] = self._sums
        means = (sums / max(1, self._count)) ** (1 / np.array(POWERS)[:, None])
        value[:, self._seen] = means.reshape(len(POWERS), self._sides, -1).max(axis=1)
        return value


def _fitted_with(
    products: Values, between: Values, inverse: Values, fit: Values, rival: NDArray[np.bool_], ridge: float
) -> Values:
    """(p,) weight of each candidate in the fit by itself and its rivals, by block inversion.

    Args:
        products: (p,) of the candidate with the generated image.
        between: (p, k) of the candidate with the k nearest.
        inverse: (p, k, k) of the products of the nearest plus the ridge.
        fit: (p, k) weights in the fit by all of them.
        rival: (p, k) which are rivals; the others are taken out of the fit.
        ridge: of the fit.
    """
    pairs, count = np.arange(len(rival))[:, None], int((~rival).sum(axis=1).max(initial=0))
    out = np.argsort(rival, axis=1, kind="stable")[:, :count]
    counts = ~np.take_along_axis(rival, out, 1)
    pivot = inverse[pairs[..., None], out[:, :, None], out[:, None]]
    pivot = np.where(counts[:, :, None] & counts[:, None], pivot, np.eye(count))
    along = np.where(counts, np.einsum("pdk,pk->pd", inverse[pairs, out], between), 0)
    taken = np.linalg.solve(pivot, along[..., None])[..., 0]
    explained = np.einsum("pk,pk->p", fit, between) - (taken * np.take_along_axis(fit, out, 1)).sum(axis=1)
    known = np.einsum("pk,pkj,pj->p", between, inverse, between, optimize=True) - (taken * along).sum(axis=1)
    return np.asarray((products - explained) / (1 + ridge - known))
