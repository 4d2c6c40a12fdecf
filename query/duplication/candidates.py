"""Candidates: pairs of images that some view finds near."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec
from indexer.build.build import Progress, silent
from indexer.search import brute_force
from query.duplication.identical import Identical
from query.duplication.pool import Pool, Rows

NEAREST = 3  # neighbours of an image by each view, and as many again of other patients
_PAIRS = 4_000_000  # compared at a time: a few hundred MB


def candidates(pool: Pool, same: Identical, *, across: bool, progress: Progress = silent) -> list[tuple[int, int]]:
    """Pairs of rows, the lower one first: each image with its nearest ones by every view.

    Of equal images of one set one stands for all. With patients, an image is also paired with its nearest ones of other
    patients; slices of one patient would else take all places. Every pair of vectors is compared: time grows with the square
    of n, memory does not.

    Args:
        pool: the images.
        same: which of them are equal or blank.
        across: pair images of different sets only.
        progress: called with stage, done, total.
    """
    rows = _representatives(pool, same)
    _, sets = np.unique(pool.sets[rows], return_inverse=True)
    patients = _numbered(pool.patients[rows])
    own = np.arange(len(rows))
    apart = [sets if across else own] + ([_joined(sets if across else own, patients)] if pool.grouped else [])
    found: set[tuple[int, int]] = set()
    for done, view in enumerate(pool.views):
        progress("searching neighbours", done, len(pool.views))
        vectors = pool.vectors(view, rows)
        seen = ~pool.blank(view)[rows]
        for queries in [vectors] + ([pool.vectors(view, rows, flipped=True)] if pool.flipped else []):
            for excluded in apart:
                near, _ = nearest(pool.spec(view), (queries, vectors), excluded, seen, NEAREST)
                pairs = np.stack([np.repeat(rows, near.shape[1]), np.where(near < 0, -1, rows[near]).ravel()], axis=1)
                pairs = pairs[(pairs[:, 1] >= 0) & np.repeat(seen, near.shape[1])]
                found.update(map(tuple, np.sort(pairs, axis=1).tolist()))
    progress("searching neighbours", len(pool.views), len(pool.views))
    return sorted(pair for pair in found if same.first[pair[0]] != same.first[pair[1]])


def nearest(
    spec: EmbeddingSpec,
    vectors: tuple[NDArray[Any], NDArray[Any]],
    excluded: Sequence[Rows] | Rows,
    seen: NDArray[np.bool_],
    k: int,
) -> tuple[Rows, NDArray[np.float32]]:
    """(n, k) places of the k nearest of n vectors for each of n others, and their distances; -1 and infinity where there is none.

    Args:
        spec: how they are compared.
        vectors: (n, width) that ask, and (n, width) that are found.
        excluded: (n,) label of each; those of one label do not find each other. Of two columns, (n, 2), either will do.
        seen: (n,) bool, which may be found.
        k: how many.
    """
    asking, found = vectors
    labels = np.asarray(excluded).reshape(len(found), -1)
    count = min(k, len(found))
    rows, distances = np.full((len(asking), count), -1), np.full((len(asking), count), np.inf, np.float32)
    for part in _cuts(len(asking), len(found)):
        here = brute_force.distances(spec.metric, asking[part], found).astype(np.float32)
        here[:, ~seen] = np.inf
        for column in labels.T:
            here[column[part, None] == column] = np.inf
        order = np.argpartition(here, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(here, order, axis=1)
        inside = np.lexsort((order, values), axis=1)
        order, values = np.take_along_axis(order, inside, axis=1), np.take_along_axis(values, inside, axis=1)
        rows[part], distances[part] = np.where(np.isfinite(values), order, -1), values
    return rows, distances


def _cuts(queries: int, others: int) -> Iterator[slice]:
    step = max(1, _PAIRS // max(1, others))
    return (slice(start, start + step) for start in range(0, queries, step))


def _representatives(pool: Pool, same: Identical) -> Rows:
    """Of equal images of one set the first; no blank ones."""
    rows = pool.rows[~same.blank[pool.rows]]
    keys = list(zip(pool.sets[rows].tolist(), same.first[rows].tolist(), strict=True))
    first: dict[tuple[str, int], int] = {}
    for key, row in zip(keys, rows.tolist(), strict=True):
        first.setdefault(key, row)
    return np.array(list(first.values()), np.int64)


def _numbered(patients: NDArray[np.str_]) -> Rows:
    """(n,) number of each patient; an image without one has a number of its own."""
    _, number = np.unique(patients, return_inverse=True)
    return np.where(patients == "", len(patients) + np.arange(len(patients)), number)


def _joined(first: Rows, second: Rows) -> Rows:
    """(n, 2) both labels."""
    return np.stack([first, second], axis=1)
