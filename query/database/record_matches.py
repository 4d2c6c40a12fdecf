"""The matches of a run: written to tables `matches`, `matching`, `neighbours` and `scores`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from query.comparison.geometry import Match
from query.comparison.matching import LEVEL, MATCHED, SCORE, Matches
from query.comparison.search import K
from query.database.store import Store


def record_matches(store: Store, matches: Matches) -> None:
    """Add to the run that is being written: pairs, neighbours ranked anew in both directions, and the score of each image.

    Args:
        store: open for writing, the run begun.
        matches: of step match.

    Raises:
        StoreError: the database refuses.
    """
    first = matches.of  # ids: generated images come first
    reference = matches.reference
    store.add(
        "matching",
        {
            "generated_images": [matches.looked],
            "pairs": [len(matches.values)],
            "controls": [len(reference.values)],
            "level": [LEVEL],
            "threshold": [reference.threshold],
            "note": [reference.note],
        },
    )
    numbers = sorted(matches.shown)
    columns = _columns([matches.shown[n] for n in numbers])
    ids = {"real_id": matches.real[numbers] + first, "generated_id": matches.generated[numbers], "value": matches.values[numbers]}
    store.add("matches", {**ids, **columns})
    for role, queries, others in (
        ("generated", matches.generated, matches.real + first),
        ("real", matches.real + first, matches.generated),
    ):
        _add_neighbours(store, role, queries, others, matches)
        _add_scores(store, queries, matches.values)


def _add_scores(store: Store, queries: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """The largest value of each image, where there is one."""
    known = np.isfinite(values)
    ids, place = np.unique(queries[known], return_inverse=True)
    best = np.zeros(len(ids))
    np.maximum.at(best, place, values[known])
    store.add("scores", {"image_id": ids, "view": [MATCHED] * len(ids), "score": [SCORE] * len(ids), "value": best})


def _add_neighbours(store: Store, role: str, queries: NDArray[np.int64], others: NDArray[np.int64], matches: Matches) -> None:
    order = np.lexsort((others, matches.distances, queries))
    ranks = _ranks(queries[order])
    kept = order[ranks <= K]
    flipped = np.array([matches.shown[n].mirrored if n in matches.shown else False for n in kept.tolist()], bool)
    columns = {
        "query_id": queries[kept],
        "query_role": [role] * len(kept),
        "view": [MATCHED] * len(kept),
        "rank": ranks[ranks <= K].astype(np.int32),
        "neighbour_id": others[kept],
        "distance": matches.distances[kept],
        "mirrored": flipped,
    }
    store.add("neighbours", columns)


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
