"""Proposals: which generated images to match first, and the real images to match each with."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from query.comparison.combined import COMBINED
from query.comparison.search import ViewResult

CANDIDATES = 10


@dataclass(frozen=True)
class Proposals:
    """The real rows to compare each generated row with: its own first ones, by all views in turn, and those that name it.

    Attributes:
        nearest: of each view, (ng, k) rows.
        named_by: generated row -> real rows that have it among their own first ones.
        count: of its own first ones.
    """

    nearest: Sequence[NDArray[np.int64]]
    named_by: Mapping[int, Sequence[int]]
    count: int

    @classmethod
    def of(cls, found: Mapping[str, ViewResult], count: int = CANDIDATES) -> "Proposals":
        """From the neighbours of all views."""
        views = sorted(found, key=lambda view: (view != COMBINED, view))
        named_by: dict[int, list[int]] = defaultdict(list)
        for view in views:
            for real, near in enumerate(found[view].real.rows[:, : max(1, count // len(views))].tolist()):
                for generated in near:
                    named_by[generated].append(real)
        return cls([found[view].generated.rows for view in views], dict(named_by), count)

    def __getitem__(self, row: int) -> list[int]:
        """Of a generated row, each real row once."""
        own = in_turn([rows[row].tolist() for rows in self.nearest], self.count)
        return list(dict.fromkeys([*own, *self.named_by.get(row, ())]))


def suspicion(found: Mapping[str, ViewResult]) -> NDArray[np.int64]:
    """Rows of generated images, the most suspicious first.

    By the combined view, those that are some real image's nearest come before the others; both by their distance.
    """
    combined = found[COMBINED]
    own = combined.generated.distances[:, 0].astype(np.float64)
    nearest = np.unique(combined.real.rows[:, 0])
    first = np.isin(np.arange(len(own)), nearest[nearest >= 0])
    return np.lexsort((np.arange(len(own)), own, ~first)).astype(np.int64)


def in_turn(lists: Sequence[Sequence[int]], count: int) -> list[int]:
    """The first of each list, then the second of each, until there are `count` different ones; -1 is none."""
    found: dict[int, None] = {}
    for rank in zip_longest(*lists, fillvalue=-1):
        for row in rank:
            if len(found) == count:
                return list(found)
            if row >= 0:
                found[row] = None
    return list(found)
