"""Weights: how much each real image takes part in reconstructing generated ones, where patients compete."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from query.comparison.reductions.ridge import RIDGE, SPAN, Values, floats
from query.comparison.reductions.rivals import Rivals
from query.comparison.reductions.sides import RealVectors
from query.comparison.reductions.tile import Tile

_STEP = 500  # generated images explained at a time
_PAIRS = 10_000  # weights computed at a time
_TIE = 1e-12  # for each place in the order by contents: far less than codes differ


@dataclass(frozen=True)
class Parts:
    """Positive weights of real images, each with the generated image that it is of.

    Attributes:
        image: (p,) columns of the tile.
        slot: (p,) rows of real images; of flipped ones the row plus the number of real images.
        weight: (p,) float64.
    """

    image: NDArray[np.int64]
    slot: NDArray[np.int64]
    weight: Values


class Weights:
    """Weight of each real image in the fit of each generated one by real images, by least squares with a ridge.

    A real image's rivals for a generated one are of other groups (patients), see `Rivals`; each group sends one, its nearest
    image. The generated image is fitted by the real one and its 19 nearest rivals; weights below 0 count as 0, and so does an
    image with 20 nearer rivals. Real images compete for every generated one, so that an image in the middle of all, which is near
    to everything, gains nothing by it. More real images, also unlabelled ones, make the weights sharper. They are the same for
    every order of images and know no labels, so p-values stay valid. Flipped images are candidates of their own. Blank images
    take no part.

    Memory: 4 bytes for each pair of real images where a group has several.

    Args:
        view: of the vectors.
        real: all real images in it.
        rivals: of all real images.
        ridge: see `ridge.residual`.

    Attributes:
        view, real: as given.
        sides: 2 where flipped images count, else 1.
    """

    def __init__(self, view: str, real: RealVectors, rivals: Rivals, ridge: float = RIDGE) -> None:
        self.view, self.real, self._ridge = view, real, ridge
        self._seen = np.flatnonzero(~real.blank)
        sides = [side for side in (real.vectors, real.flipped) if side is not None]
        vectors = np.concatenate([floats(side[self._seen], real.spec.metric) for side in sides])
        slots = np.concatenate([self._seen + number * len(real.blank) for number in range(len(sides))])
        own = rivals.among(~real.blank)
        member, self._excluded = np.tile(own.group, len(sides)), own.excluded
        self.sides, self._by_group = len(sides), np.argsort(member, kind="stable")
        self._candidates, self._groups, self._slots = vectors[self._by_group], member[self._by_group], slots[self._by_group]
        self._starts = np.searchsorted(self._groups, np.arange(len(self._excluded)))
        self._place = np.empty(len(vectors))
        self._place[np.lexsort(self._candidates.T)] = np.arange(len(vectors))
        self._gram = None if len(self._excluded) == len(vectors) else self._candidates @ self._candidates.T
        self._last: tuple[Tile, Parts] | None = None

    def of(self, tile: Tile) -> Parts:
        """All weights above 0 in a tile; those of the last tile are kept for the next who asks."""
        last = self._last  # other threads may ask for other tiles
        if last is None or last[0] is not tile:
            last = self._last = tile, self._of(tile)
        return last[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def _of(self, tile: Tile) -> Parts:
        view = tile.views[self.view]
        made = np.flatnonzero(~view.generated_blank)
        parts = [_NOTHING]
        for start in range(0, len(made) if len(self._candidates) else 0, _STEP):
            some = made[start : start + _STEP]
            products = np.concatenate([view.products(side)[np.ix_(self._seen, some)] for side in range(self.sides)])
            image, candidate, weight = self._weights(products[self._by_group].T.astype(np.float64))
            parts.append(Parts(some[image], self._slots[candidate], weight))
        image, slot, weight = (np.concatenate([getattr(part, name) for part in parts]) for name in ("image", "slot", "weight"))
        return Parts(image, slot, weight)

    def own(self, vectors: NDArray[np.float32]) -> Values:
        """Weight of each real image in the fit of one vector of its own, as if that were a generated image.

        Args:
            vectors: (slots, width) unit rows, one for each real image and each flipped one.

        Returns:
            (slots,) float64; 0 for blank images.
        """
        weights = np.zeros(len(vectors))
        for start in range(0, len(self._candidates), _STEP):
            some = np.arange(start, min(start + _STEP, len(self._candidates)))
            products = (vectors[self._slots[some]] @ self._candidates.T).astype(np.float64)
            image, _, weight = self._weights(products, some)
            weights[self._slots[some[image]]] = weight
        return weights

    def _weights(
        self, products: Values, only: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Values]:
        """Images, candidates and weights above 0, by (m, candidates) products; with `only` (m,) of one candidate each."""
        keys = _TIE * self._place - products
        near, limit = self._nearest(keys)
        between = self._products_of(near)
        inverse = np.linalg.inv(between + self._ridge * np.eye(near.shape[1]))
        fit = np.einsum("mij,mj->mi", inverse, np.take_along_axis(products, near, 1))
        inside = keys < limit[:, None]
        images, candidates = np.nonzero(inside) if only is None else _of_one(inside, only)
        weights = np.zeros(len(images))
        for start in range(0, len(images), _PAIRS):
            pairs = slice(start, start + _PAIRS)
            image, candidate = images[pairs], candidates[pairs]
            reached = np.take_along_axis(keys[image], near[image], 1)
            rival, close = self._rivals(near[image], keys[image, candidate], reached, candidate)
            image, candidate, rival = image[close], candidate[close], rival[close]
            place = np.argmax(self._groups[near[image]] == self._groups[candidate][:, None], axis=1)
            own: Values = between[image, place]
            if self._gram is not None:
                own = self._gram[candidate[:, None], near[image]].astype(np.float64)
            left: Values = inverse[image].astype(np.float64)
            found = _fitted_with(products[image, candidate], own, left, fit[image], rival, self._ridge)
            weights[start + np.flatnonzero(close)] = found
        positive = weights > 0
        return images[positive], candidates[positive], weights[positive]

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


_NOTHING = Parts(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def _of_one(inside: NDArray[np.bool_], only: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images whose one candidate is inside, and that candidate."""
    images = np.flatnonzero(inside[np.arange(len(only)), only])
    return images, only[images]


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
