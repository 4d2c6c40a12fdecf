"""The two sides of a comparison: all real images at once, generated ones shard by shard. No files, no database."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec
from indexer.search import brute_force

if TYPE_CHECKING:
    from embeddings.gpu.distances import Distances

Vectors = NDArray[np.generic]


@dataclass(frozen=True)
class RealVectors:
    """One view of all real images.

    Attributes:
        spec: of the vectors.
        vectors: (nr, width), see `embeddings.types.Embeddings`.
        flipped: the same of the images flipped left to right, where those count too.
        blank: (nr,) bool, where the view saw nothing.
        device: where distances to them are computed: ``cpu``, ``cuda:N`` or ``cuda:all``.

    Raises:
        ValueError: lengths differ.
    """

    spec: EmbeddingSpec
    vectors: Vectors
    flipped: Vectors | None
    blank: NDArray[np.bool_]
    device: str = "cpu"

    def __post_init__(self) -> None:
        lengths = {len(side) for side in (self.vectors, self.flipped, self.blank) if side is not None}
        if len(lengths) != 1:
            raise ValueError(f"vectors, flipped vectors and blank flags must be as many, got {sorted(lengths)}")

    @property
    def sides(self) -> list[NDArray[Any]]:
        """The vectors, and the flipped ones where those count."""
        return [side for side in (self.vectors, self.flipped) if side is not None]

    @cached_property
    def on_grid(self) -> list[NDArray[np.float64]]:
        """`sides` of a cosine view for `brute_force.grid_distances`."""
        return [brute_force.on_grid(side) for side in self.sides]

    @cached_property
    def on_device(self) -> "tuple[Distances, ...]":
        """Distances to the vectors, and to the flipped ones where those count, on a device that is not the CPU."""
        from embeddings.gpu.distances import Distances

        return tuple(Distances(self.spec.metric, side, self.device) for side in self.sides)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("on_device", "on_grid")}


@dataclass(frozen=True)
class GeneratedVectors:
    """One view of some generated images: (m, width) vectors and (m,) bool flags.

    Raises:
        ValueError: lengths differ.
    """

    vectors: Vectors
    blank: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if len(self.vectors) != len(self.blank):
            raise ValueError(f"vectors and blank flags must be as many, got {len(self.vectors)} and {len(self.blank)}")


@dataclass(frozen=True)
class Shard:
    """Consecutive generated images, in every view.

    Attributes:
        first: row of the first among all generated images.
        views: view -> vectors.

    Raises:
        ValueError: there is no view, or the views have different numbers of images.
    """

    first: int
    views: Mapping[str, GeneratedVectors]

    def __post_init__(self) -> None:
        lengths = {len(view.vectors) for view in self.views.values()}
        if len(lengths) != 1:
            raise ValueError(f"the views of a shard must have equally many images, got {sorted(lengths)}")

    def __len__(self) -> int:
        return len(next(iter(self.views.values())).vectors)


@dataclass(frozen=True)
class ViewVectors:
    """One view of both sides, where the generated one is at hand as a whole.

    Attributes:
        spec: of the vectors.
        real: (nr, width) vectors.
        mirrored: the same of the flipped real images, or None.
        generated: (ng, width) vectors.
        real_blank: (nr,) bool.
        generated_blank: (ng,) bool.
    """

    spec: EmbeddingSpec
    real: Vectors
    mirrored: Vectors | None
    generated: Vectors
    real_blank: NDArray[np.bool_]
    generated_blank: NDArray[np.bool_]


def real_side(views: Mapping[str, ViewVectors], device: str = "cpu") -> dict[str, RealVectors]:
    """The real images of all views; distances to them are computed on the device."""
    return {name: RealVectors(view.spec, view.real, view.mirrored, view.real_blank, device) for name, view in views.items()}


def shards(views: Mapping[str, ViewVectors], size: int | Iterable[slice] | None = None) -> Iterator[Shard]:
    """The generated images of all views, `size` at a time or as cut; without it as one shard."""
    count = len(next(iter(views.values())).generated)
    if size is None or isinstance(size, int):
        step = size or max(1, count)
        size = (slice(start, min(start + step, count)) for start in range(0, count, step))
    for rows in size:
        parts = {name: GeneratedVectors(view.generated[rows], view.generated_blank[rows]) for name, view in views.items()}
        yield Shard(rows.start, parts)
