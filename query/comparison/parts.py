"""Parts of the generated images, each gone through by a piece of work of its own, here or on another machine."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from indexer.collection import Collection
from indexer.execution.executor import Executor, Resources, Shared
from indexer.files import sha256_of
from indexer.manifest import NAME as MANIFEST
from indexer.sharded.collection import known_collection
from indexer.sharded.joined import Joined
from query.comparison.bulk import Scale
from query.comparison.reductions.driver import Reduction, reduce
from query.comparison.reductions.sending import made_with, packed, unpacked
from query.comparison.reductions.sides import GeneratedVectors, RealVectors, Shard

ROWS = 10_000  # of a part of a collection in one piece
READ = 1 << 16  # images read at a time; whole tiles, see `tile.width_of`
_MEMORY = 1 << 30  # bytes that a piece of work takes: half of it libraries, the rest tiles, and what is kept of each image
_OPEN = 2  # collections that a process keeps open for the next piece of work


class Part(Protocol):
    """Consecutive generated images."""

    @property
    def first(self) -> int:
        """Row of the first one among all."""

    @property
    def images(self) -> int:
        """How many there are."""

    def shards(self, views: Sequence[str]) -> Iterator[Shard]:
        """The images in these views, some at a time."""


@dataclass(frozen=True)
class StoredPart:
    """Rows of a collection on disk.

    Attributes:
        folder: of the collection; it lies at the same path on every machine.
        manifest: SHA-256 (hex) of its manifest: another state of it is refused.
        start: first row there.
        images: rows.
        first: row of the first one among all generated images.
    """

    folder: Path
    manifest: str
    start: int
    images: int
    first: int

    def shards(self, views: Sequence[str]) -> Iterator[Shard]:
        """See `Part`.

        Raises:
            CollectionError: the collection is missing, damaged or another one.
        """
        collection = opened(self.folder, self.manifest)
        blank = {view: collection.blank(view) for view in views}
        for start in range(self.start, self.start + self.images, READ):
            rows = slice(start, min(start + READ, self.start + self.images))
            parts = {view: GeneratedVectors(collection.vectors(view)[rows], blank[view][rows]) for view in views}
            yield Shard(self.first + start - self.start, parts)
            collection.release()
        collection.check_unchanged()


opened = lru_cache(_OPEN)(known_collection)


def parts_of(collection: Collection) -> list[StoredPart]:
    """The shards of a collection; one in one piece is cut by rows."""
    if isinstance(collection, Joined):
        offsets = collection.offsets.tolist()
        return [
            StoredPart(collection.folder / shard.name, shard.manifest, 0, shard.images, first)
            for shard, first in zip(collection.parts, offsets, strict=False)
        ]
    manifest = sha256_of(collection.folder / MANIFEST)
    starts = range(0, len(collection), ROWS)
    return [StoredPart(collection.folder, manifest, start, min(ROWS, len(collection) - start), start) for start in starts]


@dataclass(frozen=True)
class InParts:
    """Generated images in parts, each a piece of work; what these have seen is merged in the order of the parts.

    Attributes:
        executor: who does the work.
        parts: all of them, in the order of their rows.
    """

    executor: Executor
    parts: Sequence[Part]

    def feed(
        self,
        reals: Mapping[str, RealVectors],
        reductions: Sequence[Reduction[Any]],
        scales: Mapping[str, Scale] | None = None,
    ) -> None:
        """See `query.comparison.reductions.driver.reduce`; the reductions must not have seen anything yet."""
        on_gpu = any(real.device != "cpu" for real in reals.values())
        sent = {name: replace(real, device="cuda:all") if real.device != "cpu" else real for name, real in reals.items()}
        large = made_with(reductions)
        work = _Work(self.executor.share((sent, large)), self.executor.share(packed(reductions, large)))
        items = ((part, _scales_of(part, scales)) for part in self.parts)
        needs = Resources(gpus=float(on_gpu), memory=_MEMORY, alone=on_gpu)
        with closing(self.executor.map(work, items, resources=needs)) as done:
            for seen in done:
                for mine, other in zip(reductions, unpacked(seen, large), strict=True):
                    mine.merge(other)


@dataclass(frozen=True)
class _Work:
    """Feed fresh reductions with one part; they come back without what they were made with.

    Attributes:
        made_with: real images of all views, and what else reductions were made with.
        fresh: the reductions, packed.
    """

    made_with: Shared[tuple[Mapping[str, RealVectors], list[Any]]]
    fresh: Shared[bytes]

    def __call__(self, item: tuple[Part, Mapping[str, Scale] | None]) -> bytes:
        part, scales = item
        reals, large = self.made_with.value
        reductions = unpacked(self.fresh.value, large)
        reduce(reals, part.shards(list(reals)), reductions, scales, part.first)
        return packed(reductions, large)


def _scales_of(part: Part, scales: Mapping[str, Scale] | None) -> dict[str, Scale] | None:
    return None if scales is None else {name: scale.of_rows(part.first, part.images) for name, scale in scales.items()}
