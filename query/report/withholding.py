"""Generated images to withhold, and the leakage that remains in the others, for the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from query.comparison.combined import COMBINED
from query.database.record_release import RecordedRelease, read_release
from query.database.store import Store
from query.evaluation.resampling import Estimate
from query.leakage.decision import FIGURES, groups_of
from query.leakage.leakage import EXPECTED, PRIMARY, LeakageError
from query.report.pairs import strong
from query.report.predictions import leakage_kept
from query.report.run_summary import rows


@dataclass(frozen=True)
class Filter:
    """What the run keeps of the filter.

    Attributes:
        figures: ``before`` and ``after`` the filter -> figure -> value with its interval.
        kept: its decisions.
        reason: why there are none.
    """

    figures: Mapping[str, Mapping[str, Estimate]]
    kept: RecordedRelease
    reason: str


def filtered(store: Store, run: int, labels: Mapping[int, bool], groups: Mapping[int, str]) -> Filter:
    """Leakage of used against not used real images by all views combined, and the decisions of `query.leakage.filter`.

    Args:
        labels: number of a real image -> whether it was used.
        groups: number of a real image -> its group.
    """
    kept = read_release(store, run)
    return Filter(leakage_kept(store, run), kept, "" if kept.decided else _reason(store, run, labels, groups))


def _reason(store: Store, run: int, labels: Mapping[int, bool], groups: Mapping[int, str]) -> str:
    """Why the filter decided nothing."""
    if len(set(labels.values())) < 2:
        return "it takes real images known to be used and others known not to be used (--labels)"
    (about,) = store.sql("SELECT distances FROM runs WHERE run_id = $run", {"run": run}).to_pylist()
    if about["distances"] == "histogram":
        return "there are too many pairs for this run; `synthtrace leakage` and `synthtrace filter` measure them"
    try:
        groups_of(*([groups[image] for image, used in labels.items() if used is kind] for kind in (True, False)))
    except LeakageError as error:
        return str(error)
    return "there are too few groups of used or not used images, or the run is of an earlier version of synthtrace"


def leakage_facts(found: Filter) -> dict[str, Any]:
    """JSON-able: the figures with what is expected without leakage, whether they are evidence, or why there are none."""
    expected = {str(figure): value for figure, value in EXPECTED.items()}
    figures = {when: found.figures.get(when, {}) for when in ("before", "after")}
    table = [
        {"figure": name, "expected": expected.get(name), **{when: each.get(name) for when, each in figures.items()}}
        for name in FIGURES
    ]
    evidence = {
        when: [str(f) for f in PRIMARY if str(f) in each and each[str(f)].low > EXPECTED[f]] for when, each in figures.items()
    }
    return {"figures": table if found.figures else [], "evidence": evidence, "reason": found.reason}


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
    for image, score in found.kept.withheld.items():
        if score is None:
            add(image, "blank", "no view sees anything in it, so it cannot be judged")
        else:
            add(image, "filter", f"stands out towards a used image by {score:.2f}; the threshold is {found.kept.threshold:.2f}")
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
    return {
        "images": listed,
        "withheld": len(listed),
        "remain": len(names) - len(listed),
        "rules": {rule: count for rule, count in counts.items() if count},
        "risk": found.kept.risk,
        "threshold": found.kept.threshold,
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
