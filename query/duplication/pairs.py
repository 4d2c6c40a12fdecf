"""Pairs of images that show the same picture: what was measured of them, and how."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.images.errors import ImageError
from embeddings.pipeline import in_order
from embeddings.views.keypoints import Keypoints
from indexer.build.build import Progress, silent
from indexer.search import brute_force
from query.comparison import geometry
from query.comparison.models import models
from query.duplication.pool import Pool

_KEPT = 2000  # images whose keypoints stay in memory, about 0.06 MB each


class Kind(StrEnum):
    """How two images are duplicates."""

    FILE = "file"  # byte for byte the same file
    PIXELS = "pixels"  # the same pixels after decoding
    NEAR = "near"  # nearly the same picture: one transformation explains more points than chance does


@dataclass(frozen=True)
class Pair:
    """Two images that are duplicates.

    Attributes:
        first, second: rows, see `Pool`.
        kind: how.
        inliers: points on which the pictures agree under one transformation; None for equal images.
        correlation: of grey levels at 64 x 64 after alignment; 1 for equal images.
        mirrored: the first was flipped left to right.
        distances: view -> distance, as `Pool.spec` measures it.
        same_patient: whether both are of one patient; None where that is unknown.
    """

    first: int
    second: int
    kind: Kind
    inliers: int | None
    correlation: float
    mirrored: bool
    distances: Mapping[str, float]
    same_patient: bool | None

    @property
    def note(self) -> str:
        """``87 points, r 0.98``, r the correlation; or what is the same."""
        if self.kind is not Kind.NEAR:
            return f"the same {self.kind}"
        return f"{self.inliers} points, r {self.correlation:.2f}{', mirrored' if self.mirrored else ''}"

    def as_dict(self, pool: Pool) -> dict[str, Any]:
        """JSON-able values, with names for rows."""
        ends = {"first": pool.where(self.first), "second": pool.where(self.second)}
        return {**asdict(self), **ends, "kind": str(self.kind)}


class Matcher:
    """Counts the points on which images agree. Safe from several threads.

    Args:
        pool: their keypoints may raise ImageError.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._keypoints = lru_cache(maxsize=_KEPT)(pool.keypoints)
        self.failed: set[str] = set()

    def inliers(self, row: int, others: Sequence[int]) -> NDArray[np.int64]:
        """(n,) of an image with each of n others, the better of plain and flipped; 0 where one cannot be read."""
        asked = self._known(row)
        best = np.zeros(len(others), np.int64)
        for flipped in (False, True) if self._pool.flipped else (False,):
            known = [self._known(other, flipped) for other in others]
            places = [place for place, each in enumerate(known) if each is not None]
            if asked is not None and places:
                found = models([each for each in known if each is not None], asked)
                best[places] = np.maximum(best[places], [model.inliers for model in found])
        return best

    def all_inliers(self, pairs: Sequence[tuple[int, int]], progress: Progress = silent) -> NDArray[np.int64]:
        """(m,) of pairs, sorted, as `candidates` gives them."""
        by_first: dict[int, list[int]] = defaultdict(list)
        for first, second in pairs:
            by_first[first].append(second)
        found = []
        for done, each in enumerate(in_order(lambda item: self.inliers(*item), by_first.items()), 1):
            found.append(each)
            progress("matching pairs", done, len(by_first))
        return np.concatenate([np.zeros(0, np.int64), *found])

    def match(self, first: int, second: int) -> geometry.Match | None:
        """How the first image lies over the second; None where one cannot be read."""
        one, other = self._known(first), self._known(second)
        mirrored = self._known(first, True) if self._pool.flipped else None
        return None if one is None or other is None else geometry.match(one, other, mirrored)

    def _known(self, row: int, flipped: bool = False) -> Keypoints | None:
        try:
            return self._keypoints(row, flipped)
        except ImageError as error:
            self.failed.add(str(error))
            return None


def equal_pair(pool: Pool, first: int, second: int) -> Pair:
    """A pair of equal images."""
    kind = Kind.FILE if pool.contents[first] == pool.contents[second] else Kind.PIXELS
    return Pair(first, second, kind, None, 1.0, False, dict.fromkeys(pool.views, 0.0), pool.same_patient(first, second))


def near_pairs(pool: Pool, matcher: Matcher, found: Iterable[tuple[int, int, int]]) -> list[Pair]:
    """Pairs of near-duplicates with all that is measured of them.

    Args:
        pool: the images.
        matcher: of them.
        found: first and second row, and inliers.
    """
    listed = list(found)
    distances = _distances(pool, [(first, second) for first, second, _ in listed])
    pairs = []
    for number, (first, second, inliers) in enumerate(listed):
        match = matcher.match(first, second)
        correlation, mirrored = (float("nan"), False) if match is None else (match.correlation, match.mirrored)
        own = {view: float(values[number]) for view, values in distances.items()}
        pairs.append(Pair(first, second, Kind.NEAR, inliers, correlation, mirrored, own, pool.same_patient(first, second)))
    return pairs


def _distances(pool: Pool, pairs: Sequence[tuple[int, int]]) -> dict[str, NDArray[Any]]:
    """View -> (m,) distances of pairs."""
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    found = {}
    for view in pool.views:
        first, second = (pool.vectors(view, side) for side in ends.T)
        found[view] = brute_force.paired_distances(pool.spec(view).metric, first, second[:, None])[:, 0]
    return found
