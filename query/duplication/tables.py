"""What was found as tables: header and rows of each CSV file, of `to_pandas` too."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from query.duplication.pairs import Pair
from query.duplication.pool import Pool

if TYPE_CHECKING:
    from query.duplication.duplicates import Duplicates
    from query.duplication.leaky_splits import Drop, LeakySplits

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]

_MEASURES = ("kind", "like", "inliers", "correlation", "mirrored")


def group_rows(found: "Duplicates") -> Table:
    """An image of a group a row, the centre of each group first."""
    pool = found.pool
    rows: list[list[Any]] = []
    for place, group in enumerate(found.groups, 1):
        centre = [place, len(group), pool.names[group.centre], 1, *[None] * len(_MEASURES), _patient(pool, group.centre)]
        rows.append([*centre, *[None] * len(pool.views)])
        for pair in group.pairs:
            image = [place, len(group), pool.names[pair.second], 0, *_measures(pool, pair), _patient(pool, pair.second)]
            rows.append([*image, *pair.distances.values()])
    return ["group", "size", "image", "keep", *_MEASURES, "patient", *_distances(pool)], rows


def pair_rows(found: "LeakySplits") -> Table:
    """A pair of duplicates in different splits a row."""
    pool = found.pool
    rows = [
        [
            *(str(pool.sets[pair.second]), pool.names[pair.second], str(pool.sets[pair.first]), *_measures(pool, pair)),
            *(_patient(pool, pair.second), _patient(pool, pair.first), *pair.distances.values()),
        ]
        for pair in found.pairs
    ]
    return ["split", "image", "other_split", *_MEASURES, "patient", "other_patient", *_distances(pool)], rows


def patient_rows(found: "LeakySplits") -> Table:
    """A shared patient a row."""
    header = ["split", "patient", "images", "other_split", "other_patient", "other_images", "pairs", "certain"]
    rows = [
        [p.first_split, p.first, p.first_images, p.second_split, p.second, p.second_images, p.pairs, int(p.certain)]
        for p in found.patients
    ]
    return header, rows


def drop_rows(found: "LeakySplits") -> Table:
    """An image to leave out a row."""
    pool = found.pool
    rows = [
        [str(pool.sets[each.row]), pool.names[each.row], str(each.reason), liked(pool, each), _patient(pool, each.row)]
        for each in found.drop
    ]
    return ["split", "image", "reason", "like", "patient"], rows


def liked(pool: Pool, drop: "Drop") -> str | None:
    """Which image of another split one is like."""
    return None if drop.other is None else pool.where(drop.other)


def _measures(pool: Pool, pair: Pair) -> list[Any]:
    correlation = None if np.isnan(pair.correlation) else round(pair.correlation, 4)
    return [str(pair.kind), pool.names[pair.first], pair.inliers, correlation, int(pair.mirrored)]


def _distances(pool: Pool) -> list[str]:
    return [f"distance_{view}" for view in pool.views]


def _patient(pool: Pool, row: int) -> str | None:
    return str(pool.patients[row]) or None
