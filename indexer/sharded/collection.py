"""ShardedCollection: shards in one order, each a collection that is opened when it is needed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.images.find import LeftOut
from embeddings.types import EmbeddingSpec
from indexer.collection import Collection
from indexer.files import sha256_of
from indexer.manifest import NAME as MANIFEST
from indexer.manifest import CollectionError, spec_in
from indexer.sharded.manifest import FITTED, NAME, Shard, ShardedManifest


class Shards(Sequence[Collection]):
    """The shards that did not fail, in order; each access opens one anew, so that nobody holds all of them in memory."""

    def __init__(self, folder: Path, shards: Sequence[Shard]) -> None:
        self._folder, self._shards = folder, shards

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, place: Any) -> Any:
        """The collection of one shard, or the shards of a slice.

        Raises:
            CollectionError: the shard is missing, or another one than the manifest knows.
        """
        if isinstance(place, slice):
            return Shards(self._folder, self._shards[place])
        return opened(self._folder, self._shards[place])

    def __iter__(self) -> Iterator[Collection]:
        for shard in self._shards:
            yield opened(self._folder, shard)


class ShardedCollection:
    """A finished sharded collection. Row i is row ``i - offsets[s]`` of shard s, the last whose offset is not above i.

    Make one with `indexer.sharded.build.index_shards`.

    Args:
        folder: where it is.

    Raises:
        CollectionError: it is unfinished, damaged or of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = ShardedManifest.read(self.folder)
        self.shards = Shards(self.folder, self.manifest.whole)

    def __len__(self) -> int:
        return self.manifest.images

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(shards + 1,) int64: the first row of each shard, and the number of rows."""
        return np.cumsum([0, *(shard.images for shard in self.manifest.whole)], dtype=np.int64)

    @property
    def views(self) -> tuple[str, ...]:
        """Names of its views."""
        return tuple(self.manifest.views)

    @property
    def failed_shards(self) -> tuple[Shard, ...]:
        """The shards that are missing, each with its reason."""
        return tuple(shard for shard in self.manifest.shards if shard.error)

    @property
    def left_out(self) -> list[LeftOut]:
        """Files that were left aside because of their names, by kind."""
        return [LeftOut(**kind) for kind in self.manifest.left_out]

    def spec(self, view: str) -> EmbeddingSpec:
        """What the vectors of a view are, in every shard.

        Raises:
            CollectionError: no such view here.
        """
        return spec_in(self.manifest.views, view, self.folder)

    @property
    def fitted(self) -> Collection:
        """The sample that the views learned from, with what they learned: `fitted_on` for whatever is to be compared.

        Raises:
            CollectionError: it is missing, or another one than the manifest knows.
        """
        return known_collection(self.folder / FITTED, self.manifest.fitted)

    def locate(self, row: int) -> tuple[int, int]:
        """Shard and row in it of a row of the whole.

        Raises:
            IndexError: no such row.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"{self.folder} has no row {row}; it has {len(self)}")
        offsets = self.offsets
        shard = int(np.searchsorted(offsets, row, side="right")) - 1
        return shard, row - int(offsets[shard])

    def check(self) -> list[str]:
        """One line for each shard that failed and each file that is missing or has changed; empty when all is well."""
        problems = [f"{self.folder / shard.name}: it was not made: {shard.error}" for shard in self.failed_shards]
        for name, manifest in [(FITTED, self.manifest.fitted), *((shard.name, shard.manifest) for shard in self.manifest.whole)]:
            try:
                problems += known_collection(self.folder / name, manifest).check()
            except CollectionError as error:
                problems.append(str(error))
        return problems


def is_sharded(folder: str | Path) -> bool:
    """Whether this is the folder of a sharded collection, finished or not."""
    return (Path(folder) / NAME).exists() or (Path(folder) / FITTED).is_dir()


def opened(folder: Path, shard: Shard) -> Collection:
    """A shard of the sharded collection in `folder`, if it is the one that its manifest knows.

    Raises:
        CollectionError: it is missing, or another one.
    """
    collection = known_collection(folder / shard.name, shard.manifest)
    if len(collection) != shard.images:
        counts = f"has {len(collection)} images, not {shard.images}"
        raise CollectionError(f"{folder / shard.name} {counts}; run synthtrace index again")
    return collection


def known_collection(folder: Path, manifest: str) -> Collection:
    try:
        there = sha256_of(folder / MANIFEST)
    except OSError as error:
        mend = "bring it back, or run synthtrace index again: it makes what is missing"
        raise CollectionError(f"{folder / MANIFEST}: {error.strerror or error}; {mend}") from error
    if there != manifest:
        raise CollectionError(f"{folder} is not the shard that its collection knows; run synthtrace index again to finish it")
    return Collection(folder)
