"""A sharded collection read as one: rows of the second shard come after those of the first. Vectors stay where they are."""

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.collection import KEYPOINTS, Collection
from indexer.manifest import Manifest
from indexer.search.merging import merge_in_order
from indexer.sharded.collection import ShardedCollection, is_sharded
from indexer.sharded.manifest import Shard
from indexer.sharded.rows import JoinedRows
from indexer.types import Neighbours

OPEN = 4  # shards open at a time: what small ones hold lies in memory


class Joined(Collection):
    """A sharded collection as one `Collection`. Shards are opened when they are asked for, and checked each time.

    What stands in memory as a whole are names, paths and hashes of the images, no vectors.

    Args:
        sharded: at least one of its shards is there.
    """

    def __init__(self, sharded: ShardedCollection) -> None:
        known = sharded.manifest
        self.manifest = Manifest(**known.provenance, images=known.images, failed=known.failed, files={})  # as of one collection
        self.folder, self.offsets, self._sharded, self._embedders = sharded.folder, sharded.offsets, sharded, {}
        self._opened: dict[int, Collection] = {}  # the oldest first
        self._lock = Lock()

    @property
    def parts(self) -> tuple[Shard, ...]:
        """The shards that are there, as the manifest knows them."""
        return self._sharded.manifest.whole

    @cached_property
    def table(self) -> pa.Table:
        """See `Collection.table`; a shard that could not be made is a row without an image, and with its reason."""
        import pyarrow.compute as pc  # takes longer to load than a look-up

        parts = []
        for shard, first in zip(self._sharded.shards, self.offsets.tolist(), strict=False):
            rows = pc.add(shard.table["row"], pa.scalar(first, pa.int64()))
            parts.append(shard.table.set_column(shard.table.schema.get_field_index("row"), "row", rows))
        missing = self._sharded.failed_shards
        if missing:
            named = {"path": [shard.name for shard in missing], "error": [shard.error for shard in missing]}
            schema = parts[0].schema
            columns = [pa.array(named[f.name], f.type) if f.name in named else pa.nulls(len(missing), f.type) for f in schema]
            parts.append(pa.table(columns, schema=schema))
        return pa.concat_tables(parts)

    def place(self, row: int) -> tuple[int, int]:
        """The shard that holds a row, and its row there."""
        return self._sharded.locate(row)

    def path(self, row: int) -> Path:
        """See `Collection.path`."""
        number, inside = self.place(row)
        return self._open(number).path(inside)

    def vectors(self, view: str) -> NDArray[Any]:
        """(n, width) vectors of a view, as `JoinedRows`: rows that are asked for are read from their shards."""
        spec = self.spec(view)
        arrays = [partial(self._vectors_of, number, view) for number in range(len(self.parts))]
        return cast("NDArray[Any]", JoinedRows(arrays, self.offsets, (spec.width,), np.dtype(spec.dtype)))

    def _vectors_of(self, number: int, view: str) -> NDArray[Any]:
        return self._open(number).vectors(view)

    @property
    def records(self) -> NDArray[np.void] | None:
        """See `Collection.records`; None where a shard keeps nothing."""
        return self._joined_records  # asked for image by image: made once

    @cached_property
    def _joined_records(self) -> NDArray[np.void] | None:
        if any(KEYPOINTS not in shard.manifest.files for shard in self._sharded.shards):
            return None
        first = self._records_of(0)
        arrays = [partial(self._records_of, number) for number in range(len(self.parts))]
        return cast("NDArray[np.void]", JoinedRows(arrays, self.offsets, first.shape[1:], first.dtype))

    def _records_of(self, number: int) -> NDArray[np.void]:
        records = self._open(number).records
        assert records is not None
        return records

    def learned(self, view: str) -> Mapping[str, NDArray[Any]]:
        """What the view learned from a sample of all shards."""
        self.spec(view)
        return self._sharded.fitted.learned(view)

    def index(self, view: str, device: str = "cpu") -> Any:
        """The index of the sample, whose centroids those of all shards took."""
        self.spec(view)
        return self._sharded.fitted.index(view, device)

    def nearest(self, view: str, queries: NDArray[Any], k: int, device: str = "cpu") -> Neighbours:
        """The k nearest rows of each query vector, over all shards."""
        self.spec(view)
        return merge_in_order([shard.nearest(view, queries, k, device) for shard in self.pieces()], self.offsets, k)

    def pieces(self) -> Iterator[Collection]:
        """Its shards, each opened when it is its turn."""
        return map(self._open, range(len(self.parts)))

    def check_unchanged(self) -> None:
        """See that all shards are still those that this collection knows, and files that are open what they were.

        Raises:
            CollectionError: a shard is missing, or another one by now.
            CollectionChanged: a file that is open was changed.
        """
        for number in range(len(self.parts)):
            (self._opened.get(number) or self._sharded.shards[number]).check_unchanged()

    def release(self) -> None:
        """Close the shards that are open."""
        with self._lock:
            while self._opened:
                self._close_oldest()

    def _open(self, number: int) -> Collection:
        with self._lock:
            if number not in self._opened:
                if len(self._opened) == OPEN:
                    self._close_oldest()
                self._opened[number] = self._sharded.shards[number]
            return self._opened[number]

    def _close_oldest(self) -> None:
        self._opened.pop(next(iter(self._opened))).check_unchanged()

    def check(self) -> list[str]:
        """See `Collection.check`."""
        return self._sharded.check()


def open_joined(folder: str | Path) -> Collection:
    """A collection in one piece, or one in shards read as one.

    Raises:
        CollectionError: it is unfinished, damaged or of another version.
    """
    return Joined(ShardedCollection(folder)) if is_sharded(folder) else Collection(folder)
