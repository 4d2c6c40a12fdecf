"""The matches of a run as rows of tables `matches`, `matching`, `neighbours` and `scores`."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from query.comparison.geometry import Match
from query.comparison.matching import MATCHED, SCORE, Matches
from query.comparison.search import K
from query.database.store import Rows


def rows_of_matches(matches: Matches) -> Iterator[Rows]:
    """Pairs, neighbours ranked anew in both directions, and the score of each image."""
    first = matches.of  # ids: generated images come first
    reference = matches.reference
    yield (
        "matching",
        {
            "generated_images": [matches.looked],
            "pairs": [len(matches.values)],
            "controls": [len(reference.values)],
            "control_groups": [reference.group_count if reference.known else None],
            "level": [reference.level],
            "threshold": [reference.threshold],
            "note": [reference.note],
        },
    )
    numbers = sorted(matches.shown)
    columns = _columns([matches.shown[n] for n in numbers])
    ids = {"real_id": matches.real[numbers] + first, "generated_id": matches.generated[numbers], "value": matches.values[numbers]}
    yield "matches", {**ids, **columns}
    for role, queries, others in (
        ("generated", matches.generated, matches.real + first),
        ("real", matches.real + first, matches.generated),
    ):
        yield "neighbours", _neighbours(role, queries, others, matches)
        yield "scores", _scores(queries, matches.values)


def _scores(queries: NDArray[np.int64], values: NDArray[np.float64]) -> dict[str, Any]:
    """The largest value of each image, where there is one."""
    known = np.isfinite(values)
    ids, place = np.unique(queries[known], return_inverse=True)
    best = np.zeros(len(ids))
    np.maximum.at(best, place, values[known])
    return {"image_id": ids, "view": [MATCHED] * len(ids), "score": [SCORE] * len(ids), "value": best}


def _neighbours(role: str, queries: NDArray[np.int64], others: NDArray[np.int64], matches: Matches) -> dict[str, Any]:
    order = np.lexsort((others, matches.distances, queries))
    ranks = _ranks(queries[order])
    nearest = order[ranks <= K]
    flipped = np.array([matches.shown[n].mirrored if n in matches.shown else False for n in nearest.tolist()], bool)
    return {
        "query_id": queries[nearest],
        "query_role": [role] * len(nearest),
        "view": [MATCHED] * len(nearest),
        "rank": ranks[ranks <= K].astype(np.int32),
        "neighbour_id": others[nearest],
        "distance": matches.distances[nearest],
        "mirrored": flipped,
    }


def _ranks(queries: NDArray[np.int64]) -> NDArray[np.int64]:
    """1, 2, ... within each run of equal numbers."""
    starts = np.flatnonzero(np.r_[True, queries[1:] != queries[:-1]]) if len(queries) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(queries)])
    return np.arange(len(queries)) - np.repeat(starts, lengths) + 1


def _columns(pairs: Sequence[Match]) -> dict[str, Any]:
    """Columns of table `matches` that describe a pair."""
    plain = ("matches", "inliers", "inlier_ratio", "quarter_turns", "mirrored")
    measures = ("area", "residual", "correlation", "ssim")  # NaN becomes NULL
    return {
        **{name: np.array([getattr(one, name) for one in pairs]) for name in plain},
        **{name: np.array([getattr(one, name) for one in pairs], np.float64) for name in measures},
        "tiles": [one.tiles.ravel().tolist() for one in pairs],
        "ssim_tiles": [one.ssim_tiles.ravel().tolist() for one in pairs],
        "transform": [one.transform.ravel().tolist() for one in pairs],
    }
