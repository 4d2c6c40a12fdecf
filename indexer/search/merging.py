"""Neighbours found in several parts of one set of vectors, merged into those of the whole."""

from collections.abc import Sequence

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
    order = np.lexsort((rows, distances, rows < 0), axis=1)[:, :k]
    return Neighbours(*(np.take_along_axis(column, order, axis=1) for column in (rows, distances, mirrored)))
