"""Generated images that should not be released as they are, and what leakage remains in the others."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.collection import Collection
from indexer.manifest import NAME, CollectionError
from query.facts import rows
from query.leakage import EXPECTED, PRIMARY, LeakageError, Part, RealGroups, View, combined_distances, leakage, whole
from query.pairs import COMBINED, weights_of
from query.record import MAX_PAIRS
from query.release import RISK, folds, scores_of, threshold_for
from query.report.decided import leakage_kept
from query.report.pairs import strong
from query.store import Store

FIGURES = ("nearer_to_training", "memorised_training", "memorised_hold_out", "memorised_excess")


@dataclass(frozen=True)
class Filter:
    """What comparing used with not used images gives.

    Attributes:
        figures: ``before`` and ``after`` the filter -> figure -> value with its interval.
        withheld: number of a generated image -> how far its nearest used image stands out; None for one that no view sees.
        threshold: withheld above it.
        reason: why there is nothing.
    """

    figures: Mapping[str, Any]
    withheld: Mapping[int, float | None]
    threshold: float | None
    reason: str


def filtered(
    store: Store, run: int, folders: Mapping[str, Path], labels: Mapping[int, bool], groups: Mapping[int, str]
) -> Filter:
    """Leakage of used against not used real images by all views combined, and the filter of `query.release`.

    Args:
        folders: role -> where its collection should be.
        labels: number of a real image -> whether it was used.
        groups: number of a real image -> its group.
    """
    kept = leakage_kept(store, run)
    if kept:
        return Filter(kept, {}, None, "")
    if len(set(labels.values())) < 2:
        return Filter({}, {}, None, "it takes real images known to be used and others known not to be used (--labels)")
    try:
        generated, real = (_collection(store, run, folders[role], role) for role in ("generated", "real"))
        return _filtered(generated, real, labels, groups)
    except (LeakageError, CollectionError) as error:
        return Filter({}, {}, None, str(error))


def _collection(store: Store, run: int, folder: Path, role: str) -> Collection:
    """The collection of a role, if it holds the images of the run.

    Raises:
        CollectionError: it is not there, or holds others.
    """
    if not (folder / NAME).is_file():
        raise CollectionError(f"the collection of {role} images is not beside the database")
    found = Collection(folder)
    query = "SELECT sha256 FROM images WHERE run_id = $run AND role = $role ORDER BY image_id"
    if found.images["sha256"].to_pylist() != rows(store, query, run, role=role)["sha256"].tolist():
        raise CollectionError(f"the collection of {role} images beside the database holds others than the run")
    return found


def _filtered(generated: Collection, real: Collection, labels: Mapping[int, bool], groups: Mapping[int, str]) -> Filter:
    """See `query.release.sort_out`, of which this is the part for labelled images of one collection."""
    first = len(generated)
    if len(real) * first > MAX_PAIRS:
        raise LeakageError("there are too many pairs for a report; `synthtrace leakage` and `synthtrace filter` measure them")
    used, unused = (np.array([image for image, label in sorted(labels.items()) if label is kind]) for kind in (True, False))
    real_groups = _groups([groups[image] for image in used], [groups[image] for image in unused])
    combined = combined_distances(generated, [real])
    seen = [~np.logical_and.reduce([side.blank(view) for view in weights_of(side.views)]) for side in (generated, real)]
    sides = used - first, unused - first
    view = View(combined[:, sides[0]], combined[:, sides[1]], seen[0], seen[1][sides[0]], seen[1][sides[1]])
    scores = scores_of(view)
    limit = threshold_for(scores.hold_out, real_groups.hold_out, len(used), RISK, np.random.default_rng(0))
    parts = {"before": whole(first, real_groups), "after": folds(scores, real_groups, RISK)}
    with ThreadPoolExecutor(len(parts)) as pool:  # they take most of a report's time
        made = pool.map(lambda part: _figures(view, part, real_groups), parts.values())
        found = dict(zip(parts, made, strict=True))
    best = scores.training.max(axis=1)
    withheld: dict[int, float | None] = {int(scores.rows[i]): float(best[i]) for i in np.flatnonzero(best > limit)}
    withheld |= dict.fromkeys(np.flatnonzero(~seen[0]).tolist())
    return Filter(found, withheld, limit, "")


def _figures(view: View, parts: Sequence[Part], groups: RealGroups) -> dict[str, dict[str, float | None]]:
    made = leakage({COMBINED: view}, parts, groups).as_dict()["views"][COMBINED]
    return {name: {key: made[name][key] for key in ("value", "low", "high")} for name in FIGURES}


def _groups(used: Sequence[str], unused: Sequence[str]) -> RealGroups:
    """Groups by number.

    Raises:
        LeakageError: a group is on both sides.
    """
    shared = set(used) & set(unused)
    if shared:
        raise LeakageError(f"{len(shared):,} groups hold used images and others not used, so the kinds cannot be compared")
    number = {name: i for i, name in enumerate(sorted({*used, *unused}))}
    return RealGroups(np.array([number[name] for name in used]), np.array([number[name] for name in unused]))


def leakage_facts(found: Filter) -> dict[str, Any]:
    """JSON-able: the figures with what is expected without leakage, whether they are evidence, or why there are none."""
    expected = {str(figure): value for figure, value in EXPECTED.items()}
    figures = {when: found.figures.get(when, {}) for when in ("before", "after")}
    table = [
        {"figure": name, "expected": expected.get(name), **{when: each.get(name) for when, each in figures.items()}}
        for name in FIGURES
    ]
    evidence = {when: [str(f) for f in PRIMARY if _above(each.get(str(f)), EXPECTED[f])] for when, each in figures.items()}
    return {"figures": table if found.figures else [], "evidence": evidence, "reason": found.reason}


def _above(figure: Mapping[str, Any] | None, expected: float) -> bool:
    return figure is not None and figure["low"] is not None and figure["low"] > expected


def withheld(
    store: Store, run: int, found: Filter, called_used: Sequence[Mapping[str, Any]], pairs: Mapping[str, Any]
) -> dict[str, Any]:
    """Each generated image to withhold with its reasons, how many by each rule, and how many remain.

    Args:
        found: what the filter says.
        called_used: real images that the primary method calls used, with `id`, `image`, `q`.
        pairs: see `query.report.pairs.worrying`.
    """
    query = "SELECT image_id, name FROM images WHERE run_id = $run AND role = 'generated'"
    names: dict[int, str] = rows(store, query, run).set_index("image_id")["name"].to_dict()
    reasons: dict[int, list[dict[str, str]]] = {}

    def add(image: int, rule: str, text: str) -> None:
        reasons.setdefault(int(image), []).append({"rule": rule, "reason": text})

    for row in store.sql(_SAME_FILE, {"run": run}).to_pylist():
        add(row["generated"], "same file", f"is byte for byte the real image {row['real']}")
    for image, score in found.withheld.items():
        if score is None:
            add(image, "blank", "no view sees anything in it, so it cannot be judged")
        else:
            add(image, "filter", f"stands out towards a used image by {score:.2f}; the threshold is {found.threshold:.2f}")
    nearest = _nearest_generated(store, run)
    for real in called_used:
        if real["id"] in nearest:
            add(nearest[real["id"]], "called used", f"is nearest to {real['image']}, which is called used")
    for pair in [
        *_strong(store, run, pairs["threshold"]),
        *(each for each in pairs["shown"] if strong(each["match"], pairs["threshold"])),
    ]:
        if not any(each["rule"] == "match" for each in reasons.get(pair["generated_id"], [])):
            m = pair["match"]
            add(pair["generated_id"], "match", f"{m['inliers']:,} of {m['matches']:,} matched points fit {pair['real']}")
    strongest = sorted(reasons, key=lambda image: (-len(reasons[image]), image))
    listed: list[dict[str, Any]] = [{"id": image, "generated": names[image], "reasons": reasons[image]} for image in strongest]
    rules = [rule for each in listed for rule in dict.fromkeys(reason["rule"] for reason in each["reasons"])]
    counts = {rule: rules.count(rule) for rule in ("same file", "filter", "blank", "called used", "match")}
    applied = {"filter": found.threshold is not None, "called used": bool(called_used)}
    return {
        "images": listed,
        "withheld": len(listed),
        "remain": len(names) - len(listed),
        "rules": {rule: count for rule, count in counts.items() if count},
        "risk": RISK if applied["filter"] else None,
        "threshold": found.threshold,
    }


_SAME_FILE = """SELECT g.image_id AS generated, min(r.name) AS real
    FROM images AS g JOIN images AS r ON r.sha256 = g.sha256 AND r.frame = g.frame
    WHERE g.run_id = $run AND r.run_id = $run AND g.role = 'generated' AND r.role = 'real'
    GROUP BY g.image_id ORDER BY g.image_id"""


def _nearest_generated(store: Store, run: int) -> dict[int, int]:
    query = f"""SELECT query_id, neighbour_id FROM neighbours
        WHERE run_id = $run AND query_role = 'real' AND rank = 1 AND view = '{COMBINED}' ORDER BY query_id"""
    return {int(row.query_id): int(row.neighbour_id) for row in rows(store, query, run).itertuples()}


def _strong(store: Store, run: int, threshold: float | None) -> list[dict[str, Any]]:
    """Strong matches of the run, the strongest of a generated image first."""
    query = """SELECT m.generated_id, r.name AS real, m.value, m.matches, m.inliers, m.inlier_ratio
        FROM matches AS m JOIN images AS r ON r.run_id = m.run_id AND r.image_id = m.real_id
        WHERE m.run_id = $run ORDER BY m.generated_id, m.value DESC NULLS LAST, m.inliers DESC, m.real_id"""
    found = store.sql(query, {"run": run}).to_pylist()
    pairs = [{**{k: row[k] for k in ("generated_id", "real")}, "match": row} for row in found]
    return [pair for pair in pairs if strong(pair["match"], threshold)]
