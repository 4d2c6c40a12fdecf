"""Filter decisions on the generated images of a run: computed once, recorded, read by the report."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from indexer.collection import Collection
from query.comparison.combined import COMBINED, weights_of
from query.database.store import Store
from query.leakage.filter import RISK, Release, folds, scores_of, threshold_for
from query.leakage.leakage import LeakageError, Part, RealGroups, View, combined_distances, leakage, whole

FIGURES = ("nearer_to_training", "memorised_training", "memorised_hold_out", "memorised_excess")
ABOVE, BELOW, BLANK = "above the threshold", "not above the threshold", "no view sees anything in it"


@dataclass(frozen=True)
class Kept:
    """What a run says of its generated images.

    Attributes:
        decided: the filter sorted them.
        withheld: number of a generated image -> how far its nearest used image stands out; None for one that no view sees.
        threshold: withheld above it; None where it did not sort them.
        risk: None where nothing calibrates the threshold.
    """

    decided: bool
    withheld: Mapping[int, float | None]
    threshold: float | None
    risk: float | None


def read(store: Store, run: int) -> Kept:
    """From table `release_decisions`."""
    query = "SELECT image_id, decision, score, threshold, risk FROM release_decisions WHERE run_id = $run ORDER BY image_id"
    found = store.sql(query, {"run": run}).to_pylist()
    withheld = {row["image_id"]: row["score"] for row in found if row["decision"] == "withhold"}
    threshold, risk = (found[0]["threshold"], found[0]["risk"]) if found else (None, None)
    return Kept(bool(found), withheld, threshold, risk)


def keep_release(store: Store, run: int, made: Release, training: Collection) -> None:
    """What `query.leakage.filter` decided with training images as the real images of the run, and the leakage of all views."""
    row_of = {name: row for row, name in enumerate(training.names)}
    nearest = [row_of[name] + len(made.names) for name in made.nearest]
    _keep_decisions(store, run, made.score, made.threshold, made.risk if made.calibrated else None, nearest, made.distance)
    for when, found in (("before", made.before), ("after", made.after)):
        for view, figures in found.views.items() if found else ():
            ends = {str(name): {key: getattr(each, key) for key in ("value", "low", "high")} for name, each in figures.items()}
            _keep_figures(store, run, when, view, ends)


def decide(
    store: Store, run: int, generated: Collection, real: Collection, labels: Mapping[int, bool], groups: Mapping[int, str]
) -> str:
    """Let the filter sort the generated images of the run that is being written, and measure what remains.

    See `query.leakage.filter.sort_out`, of which this is the part for labelled images of one collection.

    Args:
        labels: number of a real image -> whether it was used.
        groups: number of a real image -> its group.

    Returns:
        Why it could not; empty where it could.
    """
    try:
        _decide(store, run, generated, real, labels, groups)
    except LeakageError as error:
        return str(error)
    return ""


def _decide(
    store: Store, run: int, generated: Collection, real: Collection, labels: Mapping[int, bool], groups: Mapping[int, str]
) -> None:
    first = len(generated)
    used, unused = (np.array([image for image, label in sorted(labels.items()) if label is kind]) for kind in (True, False))
    real_groups = groups_of([groups[image] for image in used], [groups[image] for image in unused])
    combined = combined_distances(generated, [real])
    seen = [~np.logical_and.reduce([side.blank(view) for view in weights_of(side.views)]) for side in (generated, real)]
    sides = used - first, unused - first
    view = View(combined[:, sides[0]], combined[:, sides[1]], seen[0], seen[1][sides[0]], seen[1][sides[1]])
    scores = scores_of(view)
    limit = threshold_for(scores.hold_out, real_groups.hold_out, len(used), RISK, np.random.default_rng(0))
    parts = {"before": whole(first, real_groups), "after": folds(scores, real_groups, RISK)}
    with ThreadPoolExecutor(len(parts)) as pool:
        made = dict(zip(parts, pool.map(lambda part: _figures(view, part, real_groups), parts.values()), strict=True))
    best = np.full(first, np.nan)
    best[scores.rows] = scores.training.max(axis=1)
    nearest = view.training.argmin(axis=1)
    _keep_decisions(store, run, best, limit, RISK, used[nearest], view.training[np.arange(first), nearest])
    for when, figures in made.items():
        _keep_figures(store, run, when, COMBINED, figures)


def _figures(view: View, parts: Sequence[Part], groups: RealGroups) -> dict[str, dict[str, float | None]]:
    made = leakage({COMBINED: view}, parts, groups).as_dict()["views"][COMBINED]
    return {name: {key: made[name][key] for key in ("value", "low", "high")} for name in FIGURES}


def groups_of(used: Sequence[str], unused: Sequence[str]) -> RealGroups:
    """Groups by number.

    Raises:
        LeakageError: a group is on both sides.
    """
    shared = set(used) & set(unused)
    if shared:
        raise LeakageError(f"{len(shared):,} groups hold used images and others not used, so the kinds cannot be compared")
    number = {name: i for i, name in enumerate(sorted({*used, *unused}))}
    return RealGroups(np.array([number[name] for name in used]), np.array([number[name] for name in unused]))


def _keep_decisions(
    store: Store, run: int, score: ArrayLike, threshold: float, risk: float | None, nearest: ArrayLike, distance: ArrayLike
) -> None:
    """A row for each generated image, in the order of the collection; a score of NaN is that of a blank one."""
    scores = np.asarray(score, np.float64)
    blank, above, count = np.isnan(scores), scores > threshold, len(scores)
    columns: dict[str, Any] = {
        "run_id": [run] * count,
        "image_id": np.arange(count),
        "decision": np.where(blank | above, "withhold", "keep"),
        "reason": np.where(blank, BLANK, np.where(above, ABOVE, BELOW)),
        "view": [COMBINED] * count,
        "score": scores,
        "threshold": [threshold] * count,
        "risk": np.full(count, np.nan if risk is None else risk),
        "nearest_id": [None if nothing else int(image) for image, nothing in zip(np.asarray(nearest), blank, strict=True)],
        "distance": np.where(blank, np.nan, np.asarray(distance, np.float64)),
    }
    store.add("release_decisions", columns)


def _keep_figures(store: Store, run: int, when: str, view: str, figures: Mapping[str, Mapping[str, float | None]]) -> None:
    """Leakage before or after the filter, in table metrics."""
    count = len(figures)
    named = {"run_id": [run] * count, "method": [f"leakage {when} filter: {view}"] * count, "metric": list(figures)}
    store.add("metrics", {**named, **{key: [each[key] for each in figures.values()] for key in ("value", "low", "high")}})
