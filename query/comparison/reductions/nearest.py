"""The k smallest of many 64-bit keys: distance, row, and whether the flipped image is meant.

Keys are ordered by distance, equal distances by row. No two are equal, so the k smallest are the same in whatever parts they
come.
"""

import numpy as np
from numpy.typing import NDArray

NONE = np.uint64(2**64 - 1)  # where there is no neighbour
ROWS = 2**31  # rows that a key can tell apart
_SIGN = np.uint32(2**31)
_KEYS = 2_000_000  # keys sorted at a time, about

Keys = NDArray[np.uint64]


def keys_of(distances: NDArray[np.float32], rows: NDArray[np.int64], flipped: NDArray[np.bool_] | None = None) -> Keys:
    """Keys of distances, which may be negative; shapes are broadcast.

    Raises:
        ValueError: a row is too large.
    """
    if rows.size and int(rows.max()) >= ROWS:
        raise ValueError(f"at most {ROWS:,} images can be compared, got row {int(rows.max()):,}")
    bits = (distances + np.float32(0)).view(np.uint32)  # -0 and 0 are alike
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN).astype(np.uint64)
    low = rows.astype(np.uint64) << np.uint64(1)
    return (ordered << np.uint64(32)) | (low if flipped is None else low | flipped.astype(np.uint64))


def distances_of(keys: Keys) -> NDArray[np.float32]:
    """What `keys_of` was given; without meaning for `NONE`."""
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    return np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered).astype(np.uint32).view(np.float32)


def rows_of(keys: Keys) -> NDArray[np.int64]:
    """The rows of keys, -1 for `NONE`."""
    rows = ((keys & np.uint64(2**32 - 1)) >> np.uint64(1)).astype(np.int64)
    return np.where(keys == NONE, -1, rows)


def flipped_of(keys: Keys) -> NDArray[np.bool_]:
    """Whether the flipped image is meant, False for `NONE`."""
    return np.asarray((keys & np.uint64(1)).astype(bool) & (keys != NONE))


def smallest(keys: Keys, k: int) -> Keys:
    """The k smallest of each row of (n, m) keys, in order; filled up with `NONE`."""
    if keys.shape[1] > k:
        keys = np.partition(keys, k - 1, axis=1)[:, :k]
    filled = np.full((len(keys), k), NONE, np.uint64)
    filled[:, : keys.shape[1]] = np.sort(keys, axis=1)
    return filled


class Smallest:
    """The k smallest keys so far of each of n queries. Candidates gather until there are enough of them to be worth a look.

    Args:
        queries: n.
        k: keys wanted.
    """

    def __init__(self, queries: int, k: int) -> None:
        self._best = np.full((queries, k), NONE, np.uint64)
        self._waiting: list[Keys] = []
        self._width = 0

    def add(self, distances: NDArray[np.float32], rows: NDArray[np.int64], flipped: NDArray[np.bool_] | None = None) -> None:
        """Take (n, m) distances to the m candidates of these rows into account."""
        largest = self._best[:, -1:]
        limit = np.where(largest == NONE, np.float32(np.inf), distances_of(largest))
        near = distances <= limit
        count = int(near.sum(axis=1).max(initial=0))
        if not count:
            return
        if 2 * count > distances.shape[1]:
            self._gather(keys_of(distances, rows[None], flipped))
            return
        query, candidate = np.nonzero(near)
        place = np.arange(len(query)) - np.searchsorted(query, query)
        keys = np.full((len(distances), count), NONE, np.uint64)
        marks = None if flipped is None else flipped[query, candidate]
        keys[query, place] = keys_of(distances[query, candidate], rows[candidate], marks)
        self._gather(keys)

    def merge(self, other: "Smallest") -> None:
        """Take the keys of another into account."""
        self._gather(other.keys())

    def keys(self) -> Keys:
        """(n, k), smallest first."""
        queries, k = self._best.shape
        step = max(1, _KEYS // (k + self._width))  # sorting takes several times the memory of what is sorted
        for start in range(0, queries if self._waiting else 0, step):
            some = slice(start, start + step)
            self._best[some] = smallest(np.hstack([self._best[some], *(each[some] for each in self._waiting)]), k)
        self._waiting, self._width = [], 0
        return self._best

    def _gather(self, keys: Keys) -> None:
        k = self._best.shape[1]
        if keys.shape[1] > k:
            keys = np.partition(keys, k - 1, axis=1)[:, :k].copy()
        self._waiting.append(keys)
        self._width += keys.shape[1]
        if self._width >= k:
            self.keys()
