"""Hamming distances of packed codes: all of a block at once by FAISS's vector popcounts, and exact search upon them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.types import Neighbours

# Queries of a block, and its pairs: their distances, 3 MB, stay in the cache until those that are near have been picked out.
_QUERIES, _PAIRS = 128, 128 * 6144
_PIECE = 1024  # codes whose least distance is looked at
_COUNTED = 1 << 23  # pairs whose distances are counted at once: OpenCV makes a table of 65,536 counts each time
_PENDING = 1 << 18  # candidates kept before they are merged with the nearest so far
# Where `nearest` is quicker than FAISS's own search, which takes one code at a time: scripts/bench/search.py compares both.
_LEAST_QUERIES, _LEAST_CODES, _MOST_NEIGHBOURS = 32, 100_000, 128
# Distance and row in one number, so that equal distances are ordered by row: 2**40 rows, and distances below 2**23.
_ROW_BITS = 40
_NOTHING = np.iinfo(np.int64).max

# A forked child has none of OpenMP's threads, but the thread that forked it waits for them at its next search, for good, if it
# has used them before. One thread waits for none.
os.register_at_fork(after_in_child=lambda: faiss.omp_set_num_threads(1))

Codes = NDArray[np.uint8]
Keys = NDArray[np.int64]


def distances(queries: NDArray[Any], codes: NDArray[Any]) -> NDArray[np.int32]:
    """(nq, n) distances of all pairs of (nq, bytes) and (n, bytes) uint8 codes."""
    out = np.empty((len(queries), len(codes)), np.int32)
    _into(out, np.ascontiguousarray(queries), np.ascontiguousarray(codes))
    return out


def is_quicker(queries: int, codes: int, k: int) -> bool:
    """Whether `nearest` finds k neighbours more quickly than `IndexBinaryFlat.search`: many queries, many more codes."""
    return queries >= _LEAST_QUERIES and codes >= _LEAST_CODES and k <= _MOST_NEIGHBOURS


def nearest(queries: Codes, codes: Codes, k: int) -> Neighbours:
    """The k nearest codes of each query, equal distances by row. All cores, unless OpenMP is held to fewer.

    Args:
        queries: (nq, bytes) uint8, at least one.
        codes: (n, bytes) uint8; at least k of them.
        k: neighbours wanted, at least 1.
    """
    queries, codes = np.ascontiguousarray(queries), np.ascontiguousarray(codes)
    threads = int(faiss.omp_get_max_threads())
    blocks = _cut(len(queries), -(-len(queries) // _QUERIES))
    spans = _cut(len(codes), -(-threads // len(blocks)))

    def work(part: tuple[range, range]) -> Keys:
        block, span = part
        scan = Scan(queries[block.start : block.stop], k)
        scan.add(codes[span.start : span.stop], span.start)
        return scan.keys()

    parts = [(block, span) for block in blocks for span in spans]
    found = _mapped(work, parts, threads)
    keys = np.empty((len(queries), k), np.int64)
    for number, block in enumerate(blocks):
        of_block = np.concatenate(found[number * len(spans) : (number + 1) * len(spans)], axis=1)
        keys[block.start : block.stop] = np.sort(of_block, axis=1)[:, :k]
    return _neighbours(keys)


def _neighbours(keys: Keys) -> Neighbours:
    near = (keys >> _ROW_BITS).astype(np.int32)
    return Neighbours(keys & ((1 << _ROW_BITS) - 1), near, np.zeros(keys.shape, bool))


def _mapped(work: Callable[[tuple[range, range]], Keys], parts: Sequence[tuple[range, range]], threads: int) -> list[Keys]:
    """`map` on threads: FAISS and NumPy let go of Python's lock."""
    if threads == 1 or len(parts) == 1:
        return list(map(work, parts))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))


def _cut(count: int, parts: int) -> list[range]:
    """0..count in consecutive ranges of nearly equal length."""
    ends = [count * part // parts for part in range(parts + 1)]
    return [range(start, stop) for start, stop in pairwise(ends)]


def _into(out: NDArray[np.int32], queries: Codes, codes: Codes) -> None:
    """Distances of all pairs; all three arrays are contiguous."""
    if out.size:
        first, second, third = (faiss.swig_ptr(array) for array in (queries, codes, out))
        faiss.hammings(first, second, *out.shape, queries.shape[1], third)  # type: ignore[attr-defined]  # by SWIG


def _counted(distances: Codes) -> NDArray[np.int64]:
    """(256,) how often each byte of (n,) occurs.

    OpenCV counts two bytes as one number. That is half as many counts, and each is added to one of 65,536 places, so that few
    have to wait for the one before to be written to the same place.
    """
    import cv2

    even = len(distances) // 2 * 2
    # Of one column OpenCV would make a call for each row.
    twos = distances[:even].view(np.uint16).reshape(1, -1)
    both = cv2.calcHist([twos], [0], None, [1 << 16], [0, 1 << 16]).reshape(256, 256) if even else np.zeros((256, 256))
    found: NDArray[np.int64] = (both.sum(axis=0, dtype=np.float64) + both.sum(axis=1, dtype=np.float64)).astype(np.int64)
    found[distances[even:]] += 1
    return found


@dataclass
class Counts:
    """The number of pairs at each distance, none above 256.

    Attributes:
        at: (bits + 1,) int64, to which they are added; complete after `finish`.
    """

    at: NDArray[np.int64]

    def __post_init__(self) -> None:
        self._room = np.empty(_COUNTED, np.uint8)
        self._filled = 0

    def room(self, pairs: int) -> Codes:
        """(pairs,) bytes, at most 2**23, for the caller to write distances modulo 256; they are counted later."""
        if self._filled + pairs > _COUNTED:
            self.finish()
        self._filled += pairs
        return self._room[self._filled - pairs : self._filled]

    def wrapped(self, pairs: int) -> None:
        """So many of the zeros stand for 256."""
        if pairs:
            self.at[[0, 256]] += -pairs, pairs

    def finish(self) -> None:
        """Count what has been written."""
        found = _counted(self._room[: self._filled])
        self.at[: len(found)] += found[: len(self.at)]
        self._filled = 0


@dataclass
class Scan:
    """The nearest of some queries, at most 128, while codes pass by in the order of their rows, a part after the other.

    A code counts only if it is nearer than the k-th nearest so far: one that is equally near has the larger row. The least
    distance in each piece of a block says whether any is, so most distances are looked at once. How near the k-th is, is found
    out anew each time half as many codes again have passed: until then about k / 2 candidates come for each query.

    Attributes:
        queries: (nq, bytes).
        k: neighbours wanted.
        counts: to which the number of pairs at each distance is added; None where that is not wanted.
    """

    queries: Codes
    k: int
    counts: Counts | None = None
    _keys: list[Keys] = field(default_factory=list)  # candidates
    _owners: list[NDArray[np.int64]] = field(default_factory=list)  # the query of each
    _passed: int = 0
    _merge_at: int = 0

    def __post_init__(self) -> None:
        self._width = -(-_PAIRS // len(self.queries) // _PIECE) * _PIECE
        self._room = np.empty(len(self.queries) * self._width, np.int32)
        self._bytes = np.empty(0 if self.counts else self._room.size, np.uint8)
        self._best = np.full((len(self.queries), self.k), _NOTHING)
        self._limits = np.full(len(self.queries), np.iinfo(np.int32).max, np.int32)

    def add(self, codes: Codes, first: int) -> None:
        """Let (n, bytes) codes pass by, the first of which has this row."""
        start = 0
        while start < len(codes):
            # All of the first block are candidates. The next are wider step by step, or the bar would be low for too many codes.
            taken = min(self._width, max(self._passed, 8 * self.k, 256), len(codes) - start)
            block = self._room[: len(self.queries) * taken].reshape(-1, taken)
            _into(block, self.queries, codes[start : start + taken])
            lowest = self._lowest(block)
            least = _least(lowest, taken)
            if self.counts is not None and not least.all():
                self.counts.wrapped(int(np.count_nonzero(block == 256)))
            if self._passed == 0:
                self._keep(_keys(block, np.arange(first, first + taken)))
            elif len(hit := np.flatnonzero(least < self._limits)):
                self._pick(block, lowest, hit, first + start)
            start, self._passed = start + taken, self._passed + taken
            if self._passed >= self._merge_at or sum(map(len, self._keys)) > _PENDING:
                self._merge()
                self._merge_at = self._passed * 3 // 2

    def keys(self) -> Keys:
        """(nq, k) keys of the nearest so far, in no order; `_NOTHING` where there are fewer."""
        self._merge()
        return self._best

    def nearest(self) -> Neighbours:
        """The nearest so far, equal distances by row; at least k codes have passed."""
        return _neighbours(np.sort(self.keys(), axis=1))

    def _lowest(self, block: NDArray[np.int32]) -> Codes:
        """Distances modulo 256: a quarter of the bytes to look through, and none of them larger than the distance."""
        room = self._bytes[: block.size] if self.counts is None else self.counts.room(block.size)
        lowest = room.reshape(block.shape)
        np.copyto(lowest, block, casting="unsafe")
        return lowest

    def _pick(self, block: NDArray[np.int32], lowest: Codes, hit: NDArray[np.int64], first: int) -> None:
        """Note what is near enough to these queries in the distances to consecutive codes: pieces first, then pairs."""
        length = _PIECE if block.shape[1] % _PIECE == 0 else block.shape[1]
        pieces = np.flatnonzero(_least(lowest[hit], length) < np.repeat(self._limits[hit], block.shape[1] // length))
        owners, starts = hit[pieces * length // block.shape[1]], pieces * length % block.shape[1]
        near = block.reshape(-1, length)[(owners * block.shape[1] + starts) // length]
        found = np.flatnonzero(near < self._limits[owners, None])
        piece, column = np.divmod(found, length)
        self._keys.append(_keys(near.ravel()[found], first + starts[piece] + column))
        self._owners.append(owners[piece])

    def _merge(self) -> None:
        """Take the candidates among the nearest."""
        if not self._keys:
            return
        owners, keys = np.concatenate(self._owners), np.concatenate(self._keys)
        self._keys, self._owners = [], []
        order = np.argsort(owners, kind="stable")
        owners, keys = owners[order], keys[order]
        counts = np.bincount(owners, minlength=len(self._best))
        pool = np.full((len(self._best), counts.max()), _NOTHING)
        pool[owners, np.arange(len(owners)) - (np.cumsum(counts) - counts)[owners]] = keys
        self._keep(pool)

    def _keep(self, pool: Keys) -> None:
        """The k smallest of the nearest so far and of (queries, some) others; then the bar is higher."""
        both = np.concatenate([self._best, pool], axis=1)
        both.partition(self.k - 1, axis=1)
        self._best = both[:, : self.k].copy()
        self._limits = np.minimum(self._best.max(axis=1) >> _ROW_BITS, np.iinfo(np.int32).max).astype(np.int32)


def _least(distances: Codes, length: int) -> Codes:
    """Of so many at a time."""
    return np.minimum.reduceat(distances.ravel(), np.arange(0, distances.size, length))


def _keys(near: NDArray[np.int32], rows: NDArray[np.int64]) -> Keys:
    return (near.astype(np.int64) << _ROW_BITS) + rows
