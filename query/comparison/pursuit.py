"""Who explains what of an image that others do not: matching pursuit, tile by tile.

An image made from several others is near to each of them, and to the neighbours of the first. So others are not asked how near
they are, but how much they explain of what those taken before leave: orthogonal matching pursuit (Pati, Rezaiifar and
Krishnaprasad, Asilomar 1993), where weights below 0 count as 0 and every tile has weights of its own.
"""

import numpy as np
from numpy.typing import NDArray

from query.comparison.tiles import Vectors

_APART = 0.3  # squared length that counts at least, of what others do not explain of a tile: below, it is mostly noise


class Pursuit:
    """What is left of an image, and what others would explain of it.

    Args:
        image: (places, width) float32, its tiles, see `query.comparison.tiles.Tiles.of`.
        others: (places, n, width) float32, those of other images.
    """

    def __init__(self, image: Vectors, others: Vectors) -> None:
        self._left, self._others = image.copy(), others
        self._products = _along(others, image)
        self._lengths = np.ones_like(self._products)  # squared, of what is not explained by those taken
        self._taken: list[Vectors] = []

    @property
    def shares(self) -> NDArray[np.float64]:
        """(n,) share of the image, 0 to 1, that each other would explain beyond those taken: the mean of its tiles."""
        parts = np.maximum(self._products, 0) ** 2 / np.maximum(self._lengths, _APART)
        return np.asarray(parts.mean(axis=0, dtype=np.float64))

    def take(self, vectors: Vectors) -> None:
        """Explain what an image can, (places, width) float32: one of the others, or any."""
        beyond = vectors.copy()
        if self._taken:
            taken = np.stack(self._taken)
            beyond -= np.einsum("kt,ktd->td", np.einsum("ktd,td->kt", taken, vectors), taken)
        beyond /= np.sqrt(np.maximum((beyond**2).sum(axis=1, keepdims=True), _APART))
        weights = np.maximum((beyond * self._left).sum(axis=1), 0)
        along = _along(self._others, beyond)
        self._left -= weights[:, None] * beyond
        self._products -= weights[:, None] * along
        self._lengths -= along**2
        self._taken.append(beyond)

    def take_other(self, number: int) -> None:
        """Take one of the others."""
        self.take(self._others[:, number])


def _along(others: Vectors, image: Vectors) -> Vectors:
    """(places, n) products of the tiles of others with those of an image."""
    return np.asarray((others @ image[..., None])[..., 0])
