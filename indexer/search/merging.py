"""Neighbours found in several parts of one set of vectors, merged into those of the whole."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.types import Neighbours


def merge_in_order(parts: Sequence[Neighbours], offsets: NDArray[np.int64], k: int) -> Neighbours:
    """The k nearest of all parts, equal distances by row of the whole.

    Args:
        parts: (nq, any k) of each part, by rows of that part; at least one.
        offsets: row of the whole that each part's first row is.
        k: neighbours wanted.
    """
    moved = [np.where(part.rows < 0, -1, part.rows + first) for part, first in zip(parts, offsets.tolist(), strict=False)]
    rows, distances, mirrored = (
        np.concatenate(columns, axis=1)
        for columns in (moved, [part.distances for part in parts], [part.mirrored for part in parts])
    )
    return nearest_of(Neighbours(rows, distances, mirrored), k)


def nearest_of(found: Neighbours, k: int) -> Neighbours:
    """The k nearest of (nq, any) neighbours in any order, equal distances by row; (nq, k), filled up where there are fewer."""
    if found.k < k:
        more = ((0, 0), (0, k - found.k))
        largest = np.iinfo(np.int32).max if found.distances.dtype == np.int32 else np.finfo(np.float32).max
        distances: Any = np.pad(found.distances, more, constant_values=largest)
        found = Neighbours(np.pad(found.rows, more, constant_values=-1), distances, np.pad(found.mirrored, more))
    order = np.lexsort((found.rows, found.distances, found.rows < 0), axis=1)[:, :k]
    columns: list[Any] = [np.take_along_axis(column, order, 1) for column in (found.rows, found.distances, found.mirrored)]
    return Neighbours(*columns)
