"""Plan of a sharded collection: which files there are, and which of them go into which shard."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import ceil
from pathlib import Path

import numpy as np

from embeddings.images.decoding import Decoding
from embeddings.images.find import Source
from indexer.build.build import Progress, in_order_of_rows
from indexer.build.files import File, Look, look
from indexer.execution.executor import Executor
from indexer.sharded.manifest import Shard

HASHED = 256  # files that a piece of work hashes
GROWTH = 2  # a shard that has grown to so many times its size is cut


@dataclass(frozen=True)
class Piece:
    """What one shard is made of.

    Attributes:
        name: of its folder.
        start: see `Shard.start`.
        files: with their hashes, in the order of their rows.
    """

    name: str
    start: tuple[str, int]
    files: tuple[File, ...]

    def failed(self, error: str) -> Shard:
        """The shard as a row with its reason."""
        return Shard(self.name, self.start, 0, len(self.files), "", error)


def look_at_all(executor: Executor, source: Source, decoding: Decoding, progress: Progress) -> tuple[list[File], Source]:
    """All files with their hashes, and the broken ones, in the order of rows; the source with what archives leave aside."""
    names, files, ignored = source.files, [], []
    blocks = [names[start : start + HASHED] for start in range(0, len(names), HASHED)]
    done = 0
    for block, looks in zip(blocks, executor.map(partial(_look_at, source.root, decoding), blocks), strict=True):
        files += [file for seen in looks for file in seen.files]
        ignored += [name for seen in looks for name in seen.ignored]
        done += len(block)
        progress("hashing", done, len(names))
    files += [File(path, "", 0, reason) for path, reason in source.broken]
    return in_order_of_rows(files), source.with_ignored(ignored)


def _look_at(root: Path, decoding: Decoding, names: Sequence[str]) -> list[Look]:
    return [look(root, name, decoding) for name in names]


def pieces(files: Sequence[File], size: int, there: Sequence[Shard] = ()) -> list[Piece]:
    """Cut the files into shards, consecutive ones into one.

    Shards that are there keep their first files, so that files which come or go change one shard only. One that has grown to
    `GROWTH` times its size is cut; new shards get names of their own.

    Args:
        files: in the order of their rows; at least one.
        size: images wanted in a shard; a file counts as one.
        there: the shards of the finished collection, in order.
    """
    keys = [_place(file) for file in files]
    edges = [bisect_left(keys, shard.start) for shard in there] or [0]
    names, free = [shard.name for shard in there], max((int(shard.name.rpartition("-")[2]) for shard in there), default=-1) + 1
    found: list[Piece] = []
    for number, start in enumerate(edges):
        begin, stop = (start if number else 0), (edges[number + 1] if number + 1 < len(edges) else len(files))
        for part, (first, last) in enumerate(_balanced(files[begin:stop], size, fixed=bool(there))):
            if part == 0 and there:
                name = names[number]
            else:
                name, free = f"shard-{free:05d}", free + 1
            where = keys[begin + first] if found else ("", 0)  # the first takes what will sort before it
            found.append(Piece(name, where, tuple(files[begin + first : begin + last])))
    return found


def _place(file: File) -> tuple[str, int]:
    return file.path, file.frame.number if file.frame else 0


def _balanced(files: Sequence[File], size: int, fixed: bool) -> list[tuple[int, int]]:
    """Ranges of about equal bytes; each file counts with its bytes and those of a mean one, so no range has many more files."""
    if not files or (fixed and len(files) < GROWTH * size):
        return [(0, len(files))] if files else []
    count = ceil(len(files) / size)
    weights = np.array([file.size for file in files], np.float64)
    ends = np.cumsum(weights + max(weights.mean(), 1))
    inner = np.searchsorted(ends, ends[-1] * np.arange(1, count) / count).tolist()
    edges = [0, *sorted({edge for edge in inner if edge}), len(files)]
    return list(pairwise(edges))
