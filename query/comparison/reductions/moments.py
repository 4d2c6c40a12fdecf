"""Mean and standard deviation of the bulk of each image's distances to the other side: the same bytes in any partition."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from query.comparison.bulk import Moments, Scale, bulk_from
from query.comparison.reductions.tile import Tile

_LOW = 31  # bits that the lower halves of sums of squares hold
_ROWS = 2048  # squares added up as integers at a time
_PRIOR = 5  # pairs of the whole view's bulk that each real image's moments hold beside its own
_FLOOR = 0.75  # of the whole view's standard deviation, that a real image's is at least


class BulkMoments:
    """Reduction to the `Scale` of one view, of pairs that do not stand out as near from the generated image (`bulk_from`).

    So the copies of a real image are not in its own moments, however many there are. Where few pairs are left, or the copies of
    another image fill its distances with one value, what all pairs of the view say stands in: 5 pairs of theirs are mixed into
    each real image's, and its standard deviation is at least three quarters of theirs.

    Distances are whole numbers of steps, so that integers hold their sums exactly: a squared distance has at most 51 bits, a
    tile's sum of them 62; larger sums stand in two halves. It holds 16 bytes for each generated image.

    Args:
        view: not the combined one.
        reals: real images.
    """

    def __init__(self, view: str, reals: int) -> None:
        self._view, self._steps = view, 1.0
        self._count, self._sum, self._high, self._low = (np.zeros(reals, np.int64) for _ in range(4))
        self._parts: dict[int, Moments] = {}

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        view = tile.views[self._view]
        within, whole = view.distances >= bulk_from(view.turned), view.whole_steps()
        self._steps = view.steps
        self._parts[tile.first] = _of_columns(whole, within, view.steps)
        whole *= within
        squares = np.einsum("rg,rg->r", whole, whole)
        self._add(within.sum(axis=1), whole.sum(axis=1), squares >> _LOW, squares & ((1 << _LOW) - 1))

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._steps = max(self._steps, other._steps)
        self._add(other._count, other._sum, other._high, other._low)
        self._parts |= other._parts

    def _add(self, *more: NDArray[np.int64]) -> None:
        own = self._count, self._sum, self._high, self._low
        self._count, self._sum, self._high, self._low = (a + b for a, b in zip(own, more, strict=True))

    def result(self) -> Scale:
        """Of the (nr,) real images and the (m,) generated ones, by row; all 0 where there is no generated image."""
        parts = [self._parts[first] for first in sorted(self._parts)]
        none = np.zeros(0)
        generated = Moments(np.concatenate([none, *(p.mean for p in parts)]), np.concatenate([none, *(p.std for p in parts)]))
        return Scale(self._of_real(), generated)

    def _of_real(self) -> Moments:
        counts, sums = [int(count) for count in self._count], [int(total) for total in self._sum]
        squares = [(int(high) << _LOW) + int(low) for high, low in zip(self._high, self._low, strict=True)]
        pairs, total, square = sum(counts), sum(sums), sum(squares)
        if not pairs:
            return Moments(np.zeros(len(counts)), np.zeros(len(counts)))
        mixed = [  # all times `pairs`, so that they stay integers
            (pairs * (n + _PRIOR), pairs * s + _PRIOR * total, pairs * q + _PRIOR * square)
            for n, s, q in zip(counts, sums, squares, strict=True)
        ]
        mean = np.array([s / n for n, s, _ in mixed])
        variance = np.array([(n * q - s**2) / n**2 for n, s, q in mixed])
        least = _FLOOR**2 * (pairs * square - total**2) / pairs**2
        return Moments(mean / self._steps, np.sqrt(np.maximum(variance, least)) / self._steps)


def _of_columns(whole: NDArray[np.int64], within: NDArray[np.bool_], steps: float) -> Moments:
    """Of each generated image, exact but for the last division; (nr, g) whole numbers of steps, and which of them count."""
    offset = whole[0]
    apart = (whole - offset) * within  # where nothing varies, all is 0, and so is the deviation
    count, square = within.sum(axis=0), np.zeros(whole.shape[1])
    mean = apart.sum(axis=0) / count
    for start in range(0, len(apart), _ROWS):
        part = apart[start : start + _ROWS]
        square += np.einsum("rg,rg->g", part, part)
    deviation = np.sqrt(np.maximum(square / count - mean**2, 0))
    return Moments((mean + offset) / steps, deviation / steps)
