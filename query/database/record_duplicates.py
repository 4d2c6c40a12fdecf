"""What a search for duplicates found, as rows of the tables of searches."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from query.database.store import Rows

if TYPE_CHECKING:
    from query.duplication.diversity import Diversity
    from query.duplication.duplicates import Duplicates
    from query.duplication.pairs import Pair
    from query.duplication.pool import Pool
    from query.evaluation.resampling import Estimate

_TEXT = pa.string()


def rows_of_duplicates(found: "Duplicates") -> Iterator[Rows]:
    """For `Store.add_search`: what was searched, members of groups, pairs with their distances, diversity."""
    yield "duplicate_searches", _search(found)
    pairs = {(pair.second, pair.first): pair for group in found.groups for pair in group.pairs}
    for pair in found.pairs:
        if (pair.first, pair.second) not in pairs:  # a member and its centre, the other way round
            pairs.setdefault((pair.second, pair.first), pair)
    if found.groups:
        yield "duplicate_members", _members(found)
    if pairs:
        yield "duplicate_pairs", _pairs(found.pool, list(pairs.values()))
        yield "duplicate_distances", _distances(found.pool, list(pairs.values()))
    yield "diversity", _diversity(found.diversity)


def _search(found: "Duplicates") -> dict[str, Any]:
    pool, chance = found.pool, found.chance
    return {
        "source": [_source(pool)],
        "against": pa.array([_source(found.against) if found.against else None], _TEXT),
        "images": [len(pool.rows)],
        "repeated": [found.repeated],
        "blank": [found.blank],
        "failed": [len(found.failed)],
        "mirror": [bool(pool.flipped)],
        "threshold": [chance.threshold],
        "compared": [chance.pairs],
        "usual": np.array([chance.usual]),  # of an array NaN becomes NULL
        "expected": np.array([chance.expected]),
        "by_patient": [chance.by_patient],
        "seed": [found.seed],
    }


def _source(pool: "Pool") -> str:
    return pool.parts[0].stored.manifest.source


def _members(found: "Duplicates") -> dict[str, Any]:
    pool = found.pool
    rows: list[tuple[int, int, int | None]] = []
    for place, group in enumerate(found.groups, 1):
        rows += [(place, group.centre, None), *((place, pair.second, pair.first) for pair in group.pairs)]
    return {
        "group_id": [place for place, _, _ in rows],
        "image": [pool.names[row] for _, row, _ in rows],
        "patient": pa.array([str(pool.patients[row]) or None for _, row, _ in rows], _TEXT),
        "keep": [like is None for _, _, like in rows],
        "like_image": pa.array([None if like is None else pool.names[like] for _, _, like in rows], _TEXT),
    }


def _pairs(pool: "Pool", pairs: "Sequence[Pair]") -> dict[str, Any]:
    return {
        **_ends(pool, pairs),
        "kind": [str(pair.kind) for pair in pairs],
        "inliers": pa.array([pair.inliers for pair in pairs], pa.int32()),
        "correlation": np.array([pair.correlation for pair in pairs], np.float64),
        "mirrored": [pair.mirrored for pair in pairs],
        "same_patient": pa.array([pair.same_patient for pair in pairs], pa.bool_()),
    }


def _distances(pool: "Pool", pairs: "Sequence[Pair]") -> dict[str, Any]:
    every = [(pair, view, distance) for pair in pairs for view, distance in pair.distances.items()]
    views = {"view": [view for _, view, _ in every], "distance": [float(distance) for _, _, distance in every]}
    return {**_ends(pool, [pair for pair, _, _ in every]), **views}


def _ends(pool: "Pool", pairs: "Sequence[Pair]") -> dict[str, list[str]]:
    return {"image": [pool.names[pair.second] for pair in pairs], "like_image": [pool.names[pair.first] for pair in pairs]}


def _diversity(figures: "Sequence[Diversity]") -> dict[str, Any]:
    own, real = np.array([each.estimate.ends for each in figures]), np.array([_known(each.baseline) for each in figures])
    return {
        "figure": [str(each.figure) for each in figures],
        "view": [each.view for each in figures],
        "whole": np.array([each.whole for each in figures], np.float64),
        "images": [each.images for each in figures],
        **{name: own[:, place] for place, name in enumerate(("value", "low", "high"))},
        **{name: real[:, place] for place, name in enumerate(("real_value", "real_low", "real_high"))},
    }


def _known(estimate: "Estimate | None") -> tuple[float, float, float]:
    return (np.nan, np.nan, np.nan) if estimate is None else estimate.ends
