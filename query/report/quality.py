"""How good the generated images of a run are, for the report: fidelity and diversity, each beside that of the real images."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from query.database.record_quality import FIGURES, SETTING
from query.database.store import Store
from query.evaluation.resampling import Estimate

DIVERSITY = ("vendi", "nearest", "duplicates")
SHARES = ("precision", "recall", "coverage", "duplicates")


@dataclass(frozen=True)
class BesideReal:
    """A figure of generated images, and that of real ones as baseline.

    Attributes:
        figure: its name.
        view: whose vectors are compared; empty where none are.
        images: compared at a time, of either side.
        generated, real: with intervals of 95%.
    """

    figure: str
    view: str
    images: int
    generated: Estimate
    real: Estimate


@dataclass(frozen=True)
class QualitySummary:
    """How good the generated images are; None is not shown.

    Attributes:
        generated, real: images that were drawn for it.
        fidelity, diversity: figures that were measured.
        reason: why there is no fidelity; empty where there is.
        repeated, groups: of the drawn generated images, those that repeat another one, and groups of them.
        threshold: points on which near-duplicates agree at least.
        held_out: real images known not to be used are the reference of fidelity; else one half of the real patients.
        suspicious: generated images come nearer to the real ones than real images of other patients do, as copies would.
        groups_known: whether patients of the real images are known.
    """

    generated: int | None
    real: int | None
    fidelity: Sequence[BesideReal]
    diversity: Sequence[BesideReal]
    reason: str
    repeated: int | None
    groups: int | None
    threshold: float
    held_out: bool
    suspicious: bool
    groups_known: bool


def quality_summary(store: Store, run: int) -> QualitySummary | None:
    """Of a run; None where nothing was measured.

    Raises:
        StoreError: the database cannot be read.
    """
    rows = store.sql("SELECT * FROM fidelity WHERE run_id = $run", {"run": run}).to_pylist()
    searches = store.sql("SELECT * FROM duplicate_searches WHERE run_id = $run", {"run": run}).to_pylist()
    if not rows or not searches:
        return None
    (about,) = store.sql("SELECT settings FROM runs WHERE run_id = $run", {"run": run}).to_pylist()
    settings, search = json.loads(about["settings"])[SETTING], {"search": searches[0]["search_id"]}
    found = {row["figure"]: row for row in rows if row["reason"] is None}
    diverse = store.sql("SELECT * FROM diversity WHERE search_id = $search", search).to_pylist()
    query = "SELECT count(DISTINCT group_id) AS groups FROM duplicate_members WHERE search_id = $search"
    (counted,) = store.sql(query, search).to_pylist()
    held_out = bool(settings.get("held_out"))
    high = found["frechet_distance"]["difference_high"] if found else None
    return QualitySummary(
        generated=settings["generated"],
        real=settings["real"],
        fidelity=[_beside_real(found[figure], settings["view"]) for figure in FIGURES if figure in found],
        diversity=[_beside_real(row, row["view"]) for row in sorted(diverse, key=lambda row: DIVERSITY.index(row["figure"]))],
        reason=next((row["reason"] for row in rows if row["reason"]), ""),
        repeated=searches[0]["repeated"],
        groups=counted["groups"],
        threshold=searches[0]["threshold"],
        held_out=held_out,
        suspicious=not held_out and high is not None and high < 0,
        groups_known=settings["groups_known"],
    )


def _beside_real(row: Mapping[str, Any], view: str) -> BesideReal:
    generated = Estimate.of(row["value"], row["low"], row["high"])
    real = Estimate.of(row["real_value"], row["real_low"], row["real_high"])
    return BesideReal(row["figure"], view, row["images"], generated, real)
