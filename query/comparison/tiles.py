"""What each tile of an image shows, as vectors: images pieced together from several sources are compared piece by piece.

A tile is a square of 12 x 12 pixels of the image at 64 x 64. What all real images show there is taken away and
the rest half whitened, as view `pixels` does with whole images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embeddings.types import GreyImage
from embeddings.views.pixels import resized
from embeddings.views.whitening import Whitening, fit_whitening, unit_rows

# Chosen on benchmarks from seeds 101 and 102 (docs/METHODS.md).
SIDE = 64  # pixels at which images are compared
_TILE = 12  # pixels along each side of a tile
_STEP = 8  # pixels from one tile to the next: they overlap, so that no detail is cut everywhere
_DIM = 40  # components of a tile
_POWER = 0.5  # of the whitening
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
        cut = _cut(images[:_SAMPLE])
        return cls([fit_whitening(tile, _DIM, _POWER) for tile in cut])

    def of(self, images: Sequence[GreyImage]) -> Vectors:
        """(places, n, width) float32 unit vectors of images, (64, 64) uint8 each; an image's do not depend on the others."""
        cut = _cut(images)
        made = [unit_rows(tile) if by is None else by.apply(tile) for by, tile in zip(self.whitenings, cut, strict=True)]
        width = max(each.shape[1] for each in made)
        return np.stack([np.pad(each, ((0, 0), (0, width - each.shape[1]))) for each in made])


def thumbnail(image: GreyImage) -> GreyImage:
    """(64, 64) uint8, what `Tiles` compares."""
    return resized(image, SIDE)


def _cut(images: Sequence[GreyImage]) -> list[Vectors]:
    """The tiles of each place, (n, pixels): brightness and contrast of the image, and the brightness of the tile, are removed."""
    rows = np.array(images, np.float32).reshape(-1, SIDE * SIDE)
    rows -= rows.mean(axis=1, keepdims=True)
    whole = unit_rows(rows).reshape(-1, SIDE, SIDE)
    cut = [whole[(slice(None), *place)].reshape(-1, _TILE * _TILE) for place in PLACES]
    return [tile - tile.mean(axis=1, keepdims=True) for tile in cut]
