"""Findings of a report as plain values: the content of report.json and of the HTML page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from query.database.record import known_groups
from query.database.store import Store
from query.inputs.groups import DUPLICATES
from query.inputs.reviews import SUFFIX
from query.report.cells import enough_images
from query.report.distributions import distributions
from query.report.pairs import Shown, look, looked_at, worrying
from query.report.predictions import decisions, evaluation, thresholds
from query.report.public import publicly
from query.report.run_summary import rows
from query.report.text.sentences import answer, limits
from query.report.withholding import filtered, leakage_facts, withheld

FORMAT = 1  # of report.json


def gather(store: Store, run: int, database: Path, *, public: bool = False) -> tuple[dict[str, Any], dict[int, Shown]]:
    """What is known of a run, JSON-able, and the pixels of its pairs by their place; the same run gives the same.

    Args:
        store: holds the run.
        run: its number.
        database: where the store's file is, or will be: collections and reviews are looked for beside it.
        public: only what may be shown to anybody, and no pixels; see `query.report.public`.

    Raises:
        StoreError: the database cannot be read.
    """
    (about,) = store.sql("SELECT * FROM runs WHERE run_id = $run", {"run": run}).to_pylist()
    labels = {row["image_id"]: row["used"] for row in _all(store, "SELECT image_id, used FROM labels", run)}
    groups = known_groups(store, run)
    least = enough_images(groups)
    decided = decisions(store, run)
    views = distributions(store, run, groups, least if public else None)
    primary = decided["primary"] if decided else None
    pairs = worrying(store, run, database.with_suffix(SUFFIX))
    shown = look(store, run, pairs["shown"], pairs["threshold"])
    pairs |= looked_at(store, run, pairs["shown"], pairs["threshold"])
    kept = filtered(store, run, labels, groups)
    findings: dict[str, Any] = {
        "format": FORMAT,
        "public": False,
        "run": {
            "number": run,
            "created": f"{about['created']:%Y-%m-%d %H:%M} UTC",
            **{key: about[key] for key in ("command", "k", "mirror", "distances")},
        },
        "sides": _sides(store, run, about),
        "known": _known(about["real_images"], labels, groups),
        "settings": json.loads(about["settings"]),
        "versions": json.loads(about["versions"]),
        "views": [{**view, "thresholds": thresholds(view["view"], decided)} for view in views],
        "decisions": decided,
        "evaluation": evaluation(store, run, labels, groups),
        "leakage": leakage_facts(kept),
        "pairs": pairs,
        "withheld": withheld(store, run, kept, primary["called_used"] if primary else [], pairs),
        "failures": _all(store, "SELECT role, path, reason FROM failures", run),
        "blank": _all(store, "SELECT role, name, blank AS views FROM images", run, "AND len(blank) > 0"),
    }
    findings["limits"] = limits(findings)
    if public:
        findings, shown = publicly(findings, least), {}
    findings["answer"] = answer(findings)
    return findings, shown


def _all(store: Store, query: str, run: int, condition: str = "") -> list[dict[str, Any]]:
    """Rows of a table of the run, in the order of their columns."""
    found: list[dict[str, Any]] = store.sql(f"{query} WHERE run_id = $run {condition} ORDER BY ALL", {"run": run}).to_pylist()
    return found


def _sides(store: Store, run: int, about: Mapping[str, Any]) -> dict[str, Any]:
    unseen = rows(
        store,
        "SELECT role, count(*) AS images FROM images WHERE run_id = $run AND list_contains(blank, 'combined') GROUP BY role",
        run,
    ).set_index("role")["images"]
    return {
        role: {
            "images": about[f"{role}_images"],
            "failed": about[f"{role}_failed"],
            "blank": int(unseen.get(role, 0)),  # to every view
            "source": about[f"{role}_source"],
        }
        for role in ("generated", "real")
    }


def _known(images: int, labels: Mapping[int, bool], groups: Mapping[int, str]) -> dict[str, Any]:
    """Labels, and groups: whose, how many."""
    used = sum(labels.values())
    named = [group for group in groups.values() if group.startswith("group: ")]
    likeness = bool(named) and all(group.startswith(f"group: {DUPLICATES}") for group in named)
    return {
        "used": used,
        "not_used": len(labels) - used,
        "unlabelled": images - len(labels),
        "groups": len(set(groups.values())),
        "groups_from": "near-duplicates" if likeness else "given" if named else "nobody",
    }
