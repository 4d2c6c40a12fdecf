"""What each tile of an image shows, as vectors: images pieced together from several sources are compared piece by piece.

A tile is a square of 12 x 12 pixels of the image at 64 x 64. What all real images show there is taken away and
the rest half whitened, as view `pixels` does with whole images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embeddings.types import GreyImage
from embeddings.views.keypoints import SIDE
from embeddings.views.whitening import Whitening, fit_whitening, unit_rows

# Chosen on benchmarks from seeds 101 and 102 (docs/METHODS.md).
_TILE = 12  # pixels along each side of a tile
_STEP = 8  # pixels from one tile to the next: they overlap, so that no detail is cut everywhere
_DIM = 40  # components of a tile
_POWER = 0.5  # of the whitening
_BLOCK = 4  # images whitened together
_SAMPLE = 2000  # real images at most that tell what all have in common

Vectors = NDArray[np.float32]
_STARTS = range(2, SIDE - _TILE + 1, _STEP)  # the same margin on all sides
PLACES = [np.s_[y : y + _TILE, x : x + _TILE] for y in _STARTS for x in _STARTS]  # of the tiles, row by row


@dataclass(frozen=True)
class Tiles:
    """How tiles become vectors.

    Attributes:
        whitenings: of each place; None where there were too few images, or nothing varied: then grey levels are compared.
    """

    whitenings: Sequence[Whitening | None]

    @classmethod
    def fitted(cls, images: Sequence[GreyImage]) -> Self:
        """To real images, (64, 64) uint8 each; the first 2,000 count."""
        return cls([fit_whitening(tile, _DIM, _POWER) for tile in _cut(images[:_SAMPLE])])

    def of(self, images: Sequence[GreyImage]) -> Vectors:
        """(places, n, width) float32 unit vectors of images, (64, 64) uint8 each; an image's do not depend on the others."""
        cut = _cut(images)
        if self._stacked is None:
            return np.stack([unit_rows(tile) for tile in cut])
        mean, axes = self._stacked
        made = np.empty((len(cut), len(images), axes.shape[2]), np.float32)
        block = np.zeros((len(cut), _BLOCK, axes.shape[1]), np.float32)  # of one size, since products depend on it
        for start in range(0, len(images), _BLOCK):
            part = cut[:, start : start + _BLOCK]
            np.subtract(part, mean, out=block[:, : part.shape[1]])
            made[:, start : start + _BLOCK] = (block @ axes)[:, : part.shape[1]]
        return unit_rows(made.reshape(-1, made.shape[2])).reshape(made.shape)

    @cached_property
    def _stacked(self) -> tuple[Vectors, Vectors] | None:
        """Means (places, 1, pixels) and axes (places, pixels, width) of all places; None where tiles are compared by grey levels.

        Where nothing varies at a place among the real images, it counts for nothing.
        """
        if all(each is None for each in self.whitenings):
            return None
        width = max(each.dim for each in self.whitenings if each)
        means, axes = (
            np.zeros((len(PLACES), 1, _TILE * _TILE), np.float32),
            np.zeros((len(PLACES), _TILE * _TILE, width), np.float32),
        )
        for mean, axis, each in zip(means, axes, self.whitenings, strict=True):
            if each:
                mean[0], axis[:, : each.dim] = each.mean, each.axes
        return means, axes


def _cut(images: Sequence[GreyImage]) -> Vectors:
    """(places, n, pixels) tiles: brightness and contrast of the image, and the brightness of the tile, are removed."""
    rows = np.array(images, np.float32).reshape(-1, SIDE * SIDE)
    rows -= rows.mean(axis=1, keepdims=True)
    whole = unit_rows(rows).reshape(-1, SIDE, SIDE)
    cut = np.stack([whole[(slice(None), *place)].reshape(-1, _TILE * _TILE) for place in PLACES])
    cut -= cut.mean(axis=2, keepdims=True)
    return cut
