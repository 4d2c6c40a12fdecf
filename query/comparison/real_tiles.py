"""The tiles of all real images, so that what is left of a generated image can propose its further sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embeddings.images.decoding import flip
from query.comparison.pursuit import Pursuit
from query.comparison.real_keypoints import RealKeypoints
from query.comparison.tiles import Tiles, Vectors

_LIKELY = 200  # real images that explain most by themselves: only among these the pursuit goes on


@dataclass(frozen=True)
class RealTiles:
    """Tiles of real images, 8 kB each.

    Attributes:
        tiles: how they became vectors.
        vectors: (places, nr, width) float32; with flipped images these come after, (places, 2 nr, width).
        known: (nr,) bool, which could be read.
    """

    tiles: Tiles
    vectors: Vectors
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, real: RealKeypoints, order: NDArray[np.int64], *, mirror: bool = False) -> Self:
        """Of all real images.

        Args:
            real: their small pictures are among what matching needs.
            order: their rows; the first of them tell what all have in common.
            mirror: flipped ones can be proposed too.
        """
        known = ~np.isin(np.arange(len(real)), list(real.errors))
        images = list(real.records["picture"])
        tiles = Tiles.fitted([images[row] for row in order.tolist() if known[row]])
        sides = [tiles.of(images), *([tiles.of([flip(image) for image in images])] if mirror else [])]
        return cls(tiles, np.concatenate(sides, axis=1), known)

    def of_rows(self, rows: Sequence[int], flipped: Sequence[bool]) -> Vectors:
        """(places, n, width) of real images, as they are or flipped."""
        return self.vectors[:, np.array(rows, np.int64) + len(self.known) * np.array(flipped, np.int64)]

    def further(self, image: Vectors, first: Vectors | None, count: int, excluded: NDArray[np.bool_] | None) -> list[int]:
        """Rows of the real images that explain most of an image, each beyond those before it.

        Args:
            image: its tiles.
            first: those of a real image that is known to explain part of it; it may be proposed again.
            count: rows wanted.
            excluded: (nr,) bool, real images that do not count.
        """
        out = ~self.known if excluded is None else excluded | ~self.known
        out = np.tile(out, self.vectors.shape[1] // len(out))
        shares = np.where(out, -1, self._pursuit(image, first, self.vectors).shares)
        likely = np.argsort(-shares, kind="stable")[: min(_LIKELY, int((~out).sum()))]
        pursuit = self._pursuit(image, first, self.vectors[:, likely])
        taken: list[int] = []
        for _ in range(min(count, len(likely))):
            shares = pursuit.shares
            shares[taken] = -1
            taken.append(int(shares.argmax()))
            pursuit.take_other(taken[-1])
        return [int(row) for row in likely[taken] % len(self.known)]

    @staticmethod
    def _pursuit(image: Vectors, first: Vectors | None, others: Vectors) -> Pursuit:
        pursuit = Pursuit(image, others)
        if first is not None:
            pursuit.take(first)
        return pursuit
