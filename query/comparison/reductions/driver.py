"""Feed all reductions in one pass over the generated side; the distances of each tile and view are computed once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from query.comparison.bulk import Scale
from query.comparison.reductions.sides import RealVectors, Shard
from query.comparison.reductions.tile import Tile, tiles

Result = TypeVar("Result", covariant=True)


class Reduction(Protocol[Result]):
    """Something that is known of all pairs, gathered tile by tile.

    Tiles may come in any order, each generated image in one of them. Parts of the work can be done elsewhere by reductions made
    with the same arguments, and merged in any order: neighbours and counts are then the same to the byte, sums within rounding.
    """

    def update(self, tile: Tile) -> None:
        """Take the pairs of a tile into account."""

    def merge(self, other: Self) -> None:
        """Take what another reduction has seen into account; the other is not to be used afterwards."""

    def result(self) -> Result:
        """What is known of all pairs so far."""


class Generated(Protocol):
    """All generated images, to be gone through as often as is needed."""

    def feed(
        self,
        reals: Mapping[str, RealVectors],
        reductions: Sequence[Reduction[Any]],
        scales: Mapping[str, Scale] | None = None,
    ) -> None:
        """See `reduce`."""


@dataclass(frozen=True)
class OneByOne:
    """Generated images in this process, shard by shard.

    Attributes:
        shards: gives all of them, the same each time.
    """

    shards: Callable[[], Iterable[Shard]]

    def feed(
        self,
        reals: Mapping[str, RealVectors],
        reductions: Sequence[Reduction[Any]],
        scales: Mapping[str, Scale] | None = None,
    ) -> None:
        """See `reduce`."""
        reduce(reals, self.shards(), reductions, scales)


def reduce(
    reals: Mapping[str, RealVectors],
    shards: Iterable[Shard],
    reductions: Sequence[Reduction[Any]],
    scales: Mapping[str, Scale] | None = None,
    first: int = 0,
) -> None:
    """Feed all reductions with all pairs of the real images and those of the shards.

    Args:
        reals: view -> all real images, at least one.
        shards: generated images, each once; they are not kept.
        reductions: they are changed.
        scales: view -> of all pairs' distances (`BulkMoments.result`), from a pass before; the combined view needs them.
        first: row of the first generated image that the scales know.

    Raises:
        KeyError: a reduction asks for a view that a side lacks.
    """
    for shard in shards:
        own = {name: scale.of_rows(shard.first - first, len(shard)) for name, scale in (scales or {}).items()}
        for tile in tiles(reals, shard, None if scales is None else own):
            for reduction in reductions:
                reduction.update(tile)
