"""Batches of generated images to look at, cut so that each shard is opened once, or seldom where time is short."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from query.comparison.looking import Batch, Source, source_at
from query.comparison.parts import StoredPart, parts_of
from query.comparison.proposals import Proposals
from query.comparison.search import ViewResult
from query.inputs.images import Images

_HERE, _SENT = 8, 250  # images of a batch at most: in this process, and elsewhere, where the collection is opened for them
_MANY = 64  # batches at least, where there are images enough: all cores have work to the end


def growing(rows: NDArray[np.int64], first: int) -> Iterator[NDArray[np.int64]]:
    """Rows in pieces, each as long as all before it: whenever one stops, the first half of what was taken is complete."""
    start, end = 0, first
    while start < len(rows):
        yield rows[start:end]
        start, end = end, 2 * end


@dataclass(frozen=True)
class Batches:
    """Cuts rows of generated images into batches, none of which lies in two shards where these have to be opened for it.

    Attributes:
        images: all generated images.
        proposed: see there.
        views: what comparing them gave.
        here: they are looked at in this process.
    """

    images: Images
    proposed: Proposals
    views: Mapping[str, ViewResult]
    here: bool

    def of(self, pieces: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
        """Batches of pieces of rows, each of them in order, so that a shard is opened once for a piece."""
        for piece in pieces:
            size = int(np.clip(len(piece) // _MANY, 1, _HERE if self.here else _SENT))
            for part, rows in self._by_part(piece):
                for start in range(0, len(rows), size):
                    yield self._batch(part, rows[start : start + size])

    def _by_part(self, rows: NDArray[np.int64]) -> Iterator[tuple[StoredPart | None, NDArray[np.int64]]]:
        """The rows of each part of the collection; in this process it is open as one."""
        if self.here:
            yield None, rows
            return
        parts = parts_of(self.images.stored)
        cuts = np.searchsorted(rows, [part.first for part in parts[1:]])
        yield from zip(parts, np.split(rows, cuts), strict=True)

    def _batch(self, part: StoredPart | None, rows: NDArray[np.int64]) -> Batch:
        stored = self.images.stored
        source: Callable[[], Source]
        if part is None:
            source, inside = partial(Source, stored, self.images.read), rows
        else:
            names = stored.images["path"].take(rows).to_pylist() if self.images.paths else []
            paths = {name: self.images.paths[name] for name in names if name in self.images.paths}
            source, inside = partial(source_at, part.folder, part.manifest, paths), rows - part.first + part.start
        return Batch(
            source,
            rows,
            inside,
            [self.proposed[row] for row in rows.tolist()],
            {view: result.scale.generated.take(rows) for view, result in self.views.items() if result.scale},
            {view: flags[rows] for view, flags in self.images.blank.items()},
        )
