"""A tile: distances of all real images to a block of generated ones, computed once, on demand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Metric
from indexer.search import brute_force
from query.comparison.bulk import Scale
from query.comparison.combined import COMBINED, combined, standardised, weights_of
from query.comparison.reductions.sides import GeneratedVectors, RealVectors, Shard

_PAIRS = 2_000_000  # real x generated images of a tile, about
_WIDEST = 2048  # generated images of a tile at most; sums of squares of so many stay exact, see `moments`
_NARROWEST = 64

Matrix = NDArray[np.float32]


def width_of(reals: int) -> int:
    """Generated images in a tile: a power of two that depends on nothing but the number of real images."""
    return int(np.clip(1 << (max(1, _PAIRS // max(1, reals)).bit_length() - 1), _NARROWEST, _WIDEST))


@dataclass(frozen=True)
class ViewTile:
    """One view of a tile.

    Attributes:
        real: all real images.
        generated: the block of generated ones.
        width: see `width_of`.
    """

    real: RealVectors
    generated: GeneratedVectors
    width: int

    @cached_property
    def plain(self) -> Matrix:
        """(nr, g) distances to the real images as they are."""
        return self._to(0)

    @cached_property
    def flipped(self) -> Matrix | None:
        """(nr, g) distances to the flipped ones, where those count."""
        return None if self.real.flipped is None else self._to(1)

    @cached_property
    def distances(self) -> Matrix:
        """(nr, g), the smaller of both."""
        return self.plain if self.flipped is None else np.minimum(self.plain, self.flipped)

    @cached_property
    def turned(self) -> Matrix:
        """(g, nr), the same."""
        return np.ascontiguousarray(self.distances.T)

    def to_side(self, number: int) -> Matrix:
        """(nr, g) distances to the real images as they are (0), or flipped (1)."""
        side = (self.plain, self.flipped)[number]
        if side is None:
            raise ValueError("there are no flipped images")
        return side

    def products(self, number: int) -> Matrix:
        """(nr, g) inner products as of unit vectors, see `to_side`; never above 1."""
        scale = 2 / self.real.spec.dim if self.real.spec.metric is Metric.HAMMING else 1.0
        return 1 - np.float32(scale) * self.to_side(number)

    @cached_property
    def nearer_flipped(self) -> NDArray[np.bool_] | None:
        """(nr, g), where the flipped image is the nearer one."""
        return None if self.flipped is None else self.flipped < self.plain

    @property
    def real_blank(self) -> NDArray[np.bool_]:
        """(nr,), where this view saw nothing."""
        return self.real.blank

    @property
    def generated_blank(self) -> NDArray[np.bool_]:
        """(g,), the same."""
        return self.generated.blank

    @property
    def steps(self) -> float:
        """All distances are whole multiples of 1 / steps: bits, and float32 values of 1 - x with x of at most about 1."""
        return 1.0 if self.real.spec.metric is Metric.HAMMING else 2.0**24

    def whole_steps(self) -> NDArray[np.int64]:
        """(nr, g) distances as whole numbers of steps."""
        return np.rint(self.distances * np.float64(self.steps)).astype(np.int64)

    def take(self, columns: NDArray[np.int64]) -> "ViewTile":
        """The same of some of the generated images; distances are not computed again."""
        part = ViewTile(self.real, GeneratedVectors(self.generated.vectors[columns], self.generated.blank[columns]), self.width)
        part.__dict__["plain"] = self.plain[:, columns]
        part.__dict__["flipped"] = None if self.flipped is None else self.flipped[:, columns]
        return part

    @cached_property
    def _on_grid(self) -> NDArray[np.float64]:
        return brute_force.on_grid(np.asarray(self.generated.vectors))

    def _to(self, number: int) -> Matrix:
        """Distances to a side, see `to_side`. On the CPU they do not depend on how tiles are cut.

        On a GPU products are of matrices of one shape, filled up with zeros: most of them do not either.
        """
        real, block = self.real.sides[number], np.asarray(self.generated.vectors)
        if self.real.device != "cpu":
            filled = np.zeros((self.width, block.shape[1]), block.dtype)
            filled[: len(block)] = block
            return np.ascontiguousarray(self.real.on_device[number].to(filled)[:, : len(block)])
        if self.real.spec.metric is Metric.HAMMING:
            from indexer.search import hamming  # loads FAISS

            return hamming.distances(real, block).astype(np.float32)
        return brute_force.grid_distances(self.real.on_grid[number], self._on_grid)


@dataclass(frozen=True)
class CombinedTile:
    """The combined view of a tile, see `query.comparison.combined`; scales are of its own generated images."""

    views: Mapping[str, ViewTile]
    scales: Mapping[str, Scale]

    @cached_property
    def distances(self) -> Matrix:
        """(nr, g) combined distances."""
        return combined(
            {
                name: standardised(view.distances, self.scales[name], view.real_blank, view.generated_blank)
                for name, view in self.views.items()
            }
        )

    @cached_property
    def turned(self) -> Matrix:
        """(g, nr), the same."""
        return np.ascontiguousarray(self.distances.T)

    @cached_property
    def nearer_flipped(self) -> NDArray[np.bool_] | None:
        """(nr, g), where the views by weighted majority find the flipped image nearer."""
        votes = np.zeros((len(self.real_blank), len(self.generated_blank)), np.float32)
        for name, weight in weights_of(self.views).items():
            view = self.views[name]
            if view.flipped is None:
                return None
            votes += np.float32(weight) * np.sign(view.plain - view.flipped)
        return votes > 0

    @cached_property
    def real_blank(self) -> NDArray[np.bool_]:
        """(nr,), where no view saw anything."""
        return np.asarray(np.logical_and.reduce([self.views[name].real_blank for name in weights_of(self.views)]))

    @cached_property
    def generated_blank(self) -> NDArray[np.bool_]:
        """(g,), the same."""
        return np.asarray(np.logical_and.reduce([self.views[name].generated_blank for name in weights_of(self.views)]))


class Tile:
    """All real images against consecutive generated ones.

    Args:
        first: row of the first generated image.
        views: view -> its part.
        scales: of each view's distances, its own generated images alone; without them there is no combined view.
    """

    def __init__(self, first: int, views: Mapping[str, ViewTile], scales: Mapping[str, Scale] | None = None) -> None:
        self.first = first
        self.views = views
        self._combined = None if scales is None else CombinedTile(views, scales)

    def __len__(self) -> int:
        return len(next(iter(self.views.values())).generated_blank)

    def take(self, columns: NDArray[np.int64], first: int) -> "Tile":
        """Some of its generated images, of which the first is now in row `first`; without the combined view."""
        return Tile(first, {name: view.take(columns) for name, view in self.views.items()})

    def view(self, name: str) -> ViewTile | CombinedTile:
        """A view by its name, the combined one included.

        Raises:
            KeyError: there is none of this name, or scales were not given.
        """
        if name != COMBINED:
            return self.views[name]
        if self._combined is None:
            raise KeyError("the combined view needs moments of all distances; they come from a pass before")
        return self._combined


def tiles(reals: Mapping[str, RealVectors], shard: Shard, scales: Mapping[str, Scale] | None = None) -> Iterator[Tile]:
    """The shard, a tile at a time; scales are of its generated images alone."""
    width = width_of(len(next(iter(reals.values())).blank))
    for start in range(0, len(shard), width):
        rows = slice(start, min(start + width, len(shard)))
        blocks = {name: shard.views[name] for name in reals}
        parts = {
            name: ViewTile(reals[name], GeneratedVectors(block.vectors[rows], block.blank[rows]), width)
            for name, block in blocks.items()
        }
        own = None if scales is None else {name: scale.of_rows(start, rows.stop - start) for name, scale in scales.items()}
        yield Tile(shard.first + start, parts, own)
