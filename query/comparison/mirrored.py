"""Mirrored copies: the neighbours of an image and of its flipped self, merged."""

import numpy as np

from indexer.types import Neighbours


def merge_mirrored(plain: Neighbours, flipped: Neighbours) -> Neighbours:
    """The k nearest of two searches over the same rows, each row once, marked where the flipped image was nearer.

    Exact as long as both searches are: a row among the k nearest of the union is among the k nearest of its own search.
    """
    rows = np.hstack([plain.rows, flipped.rows])
    distances = np.hstack([plain.distances, flipped.distances])
    mirrored = np.hstack([np.zeros(plain.rows.shape, bool), np.ones(flipped.rows.shape, bool)])
    order = np.lexsort((mirrored, rows, distances), axis=1)
    rows, distances, mirrored = (np.take_along_axis(a, order, 1) for a in (rows, distances, mirrored))
    by_row = np.lexsort((np.broadcast_to(np.arange(rows.shape[1]), rows.shape), rows), axis=1)
    sorted_rows = np.take_along_axis(rows, by_row, 1)
    repeated = np.zeros(rows.shape, bool)
    np.put_along_axis(repeated, by_row[:, 1:], (sorted_rows[:, 1:] == sorted_rows[:, :-1]) & (sorted_rows[:, 1:] >= 0), 1)
    first = np.argsort(repeated, axis=1, kind="stable")[:, : plain.k]
    return Neighbours(*(np.ascontiguousarray(np.take_along_axis(a, first, 1)) for a in (rows, distances, mirrored)))
