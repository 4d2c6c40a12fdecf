"""Catalogue of runs: what each compared, its settings, its distributions of distances."""

import json
from collections.abc import Iterable, Mapping
from math import floor
from typing import Any

from query.comparison.combined import COMBINED, COMBINED_LOOKUP
from query.comparison.scores import Score
from query.database.record import known_groups
from query.database.store import Store
from query.report.copies import copies_summary
from query.report.memorisation import memorisation_summary
from query.report.patients import recorded_patients
from query.report.predictions import decisions
from query.report.run_summary import warnings_of
from query.report.statistics import label_counts, recorded_views
from query.report.text.copies import copies_sentences
from query.report.text.memorisation import memorisation_sentences
from query.report.text.patients import headlines
from query.report.text.units import unit
from query.service.errors import Refused
from query.service.schemas import (
    Distances,
    Labels,
    MatchReference,
    Membership,
    Method,
    Patient,
    Patients,
    Role,
    RunInfo,
    Runs,
    RunShort,
    Said,
    Threshold,
    View,
)
from query.text import many

FEWEST = 20  # images known not to be used, of which 5% is one
LEVEL = 0.05
REFERENCE = """
    SELECT s.view, s.image_id, i."group", s.value AS d1
    FROM scores AS s
    JOIN labels AS l ON l.run_id = s.run_id AND l.image_id = s.image_id AND NOT l.used
    JOIN images AS i ON i.run_id = s.run_id AND i.image_id = s.image_id
    WHERE s.run_id = $run AND s.score = 'd1'"""


def runs(store: Store) -> Runs:
    """Finished runs, the latest first."""
    query = """SELECT run_id AS run, created, command, real_images, generated_images FROM runs
        WHERE finished ORDER BY run_id DESC"""
    rows = store.sql(query).to_pylist()
    return Runs(runs=[RunShort(**{**row, "created": row["created"].isoformat()}) for row in rows])


def views(store: Store, run: int) -> dict[str, View]:
    """The views of a run by name, the combined one first."""
    return {each.view: view_of(each.view, each.metric, each.dim, each.note) for each in recorded_views(store, run)}


def view_of(view: str, metric: str, dim: int, note: str) -> View:
    """A view with its units."""
    return View(view=view, metric=metric, dim=dim, unit=unit(view, metric, dim), short_unit=short_unit(view, metric), note=note)


def short_unit(view: str, metric: str) -> str:
    """What stands behind a distance; a cosine distance has no unit."""
    return "sd" if view in (COMBINED, COMBINED_LOOKUP) else "bits" if metric == "hamming" else ""


def primary_method(store: Store, run: int) -> str | None:
    """The method whose answers count; None where nothing was predicted."""
    found = store.sql("SELECT method FROM methods WHERE run_id = $run AND CAST(facts->>'primary' AS BOOLEAN)", {"run": run})
    return found["method"][0].as_py() if len(found) else None


def run_info(store: Store, run: int) -> RunInfo:
    """What a run compared, and how."""
    (about,) = store.sql("SELECT * FROM runs WHERE run_id = $run", {"run": run}).to_pylist()
    reference, groups = match_reference(store, run), known_groups(store, run)
    decided = decisions(store, run, groups)
    return RunInfo(
        run=run,
        created=about["created"].isoformat(),
        images={Role.REAL: about["real_images"], Role.GENERATED: about["generated_images"]},
        failures={Role.REAL: about["real_failed"], Role.GENERATED: about["generated_failed"]},
        settings=json.loads(about["settings"]),
        copies=copies_sentences(copies_summary(store, run, groups)),
        memorisation=memorisation_sentences(memorisation_summary(store, run)),
        answer=[Said(note=each.note, more=each.more) for each in headlines(decided.primary)] if decided else [],
        warnings=warnings_of(json.loads(about["settings"])),
        versions=json.loads(about["versions"]),
        views=list(views(store, run).values()),
        labels=Labels(**label_counts(store, run)),
        methods=_methods(store, run),
        matched_pairs=reference.pairs if reference else 0,
        match=reference,
        **{name: about[name] for name in ("command", "k", "mirror", "distances")},
    )


def patients(store: Store, run: int, decision: str | None, offset: int, limit: int) -> Patients:
    """Patients as the primary method decides, from `offset` on."""
    method = primary_method(store, run)
    decided = recorded_patients(store, run, method) if method else []
    found = [each for each in decided if decision in (None, each.decision)]
    page = found[offset : offset + limit]
    query = f"""SELECT query_id, neighbour_id FROM neighbours
        WHERE run_id = $run AND rank = 1 AND view = '{COMBINED}' AND query_id IN (SELECT unnest(CAST($ids AS BIGINT[])))"""
    rows = store.sql(query, {"run": run, "ids": [each.id for each in page]}).to_pylist()
    nearest = {row["query_id"]: row["neighbour_id"] for row in rows}
    shown = [
        Patient(
            patient=each.patient,
            nearest_id=each.id,
            nearest_image=each.image,
            generated_id=nearest.get(each.id),
            images=each.images,
            role=each.role,
            p_value=each.p,
            q_value=each.q,
            decision=each.decision,
        )
        for each in page
    ]
    return Patients(run=run, method=method, total=len(found), patients=shown)


def match_reference(store: Store, run: int) -> MatchReference | None:
    """What match values are held against; None where no pair was compared."""
    query = "SELECT threshold, level, controls, control_groups, pairs, generated_images, note FROM matching WHERE run_id = $run"
    found = store.sql(query, {"run": run}).to_pylist()
    return MatchReference(**found[0]) if found else None


def _methods(store: Store, run: int) -> list[Method]:
    """Methods, the primary one first."""
    counted = store.sql(
        """SELECT method, answer, count(*) AS images FROM decisions
        WHERE run_id = $run AND answer IS NOT NULL GROUP BY ALL ORDER BY ALL""",
        {"run": run},
    ).to_pylist()
    found = store.sql(
        """SELECT method, coalesce(CAST(facts->>'primary' AS BOOLEAN), false) AS "primary", calibrated, note FROM methods
        WHERE run_id = $run ORDER BY "primary" DESC, method""",
        {"run": run},
    ).to_pylist()
    answers: dict[str, dict[str, int]] = {each["method"]: {} for each in found}
    for row in counted:
        answers.setdefault(row["method"], {})[row["answer"]] = row["images"]
    return [Method(**each, answers=answers[each["method"]]) for each in found]


def distances(store: Store, run: int, view: str) -> Distances:
    """How a view's distances are distributed.

    Raises:
        Refused: the run has no such view.
    """
    known = views(store, run)
    check_view(run, view, known)
    asked = {"run": run, "view": view}
    bins = store.sql("SELECT low, high, pairs FROM histograms WHERE run_id = $run AND view = $view ORDER BY low", asked)
    edges = [*bins["low"].to_pylist(), *bins["high"].to_pylist()[-1:]]
    nearest = _nearest(store, asked)
    return Distances(
        run=run,
        view=view,
        unit=known[view].unit,
        short_unit=known[view].short_unit,
        edges=edges,
        counts=bins["pairs"].to_pylist(),
        nearest=nearest,
        thresholds=_thresholds(nearest[Membership.NOT_USED], known[view].metric == "hamming"),
    )


def check_view(run: int, view: str, known: Iterable[str]) -> None:
    """Refuse a view that the run does not have."""
    if view not in known:
        raise Refused(404, f"run {run} has no view {view!r}; it has {', '.join(known)}")


def _nearest(store: Store, asked: Mapping[str, Any]) -> dict[str, list[float]]:
    """Sorted d1 of generated images, and of real ones by what is known of them; blank images have none."""
    query = f"""SELECT CASE WHEN i.role = 'generated' THEN 'generated' ELSE membership(l.used) END AS of,
            list(s.value ORDER BY s.value) AS d
        FROM scores AS s
        JOIN images AS i ON i.run_id = s.run_id AND i.image_id = s.image_id
        LEFT JOIN labels AS l ON l.run_id = s.run_id AND l.image_id = s.image_id
        WHERE s.run_id = $run AND s.view = $view AND s.score = '{Score.D1}' GROUP BY ALL"""
    found = {row["of"]: row["d"] for row in store.sql(query, asked).to_pylist()}
    return {of: found.get(of, []) for of in (Role.GENERATED, *Membership)}


def _thresholds(reference: list[float], bits: bool) -> list[Threshold]:
    if len(reference) < FEWEST:
        return []
    within = int(LEVEL * len(reference))
    while within and reference[within - 1] == reference[within]:  # equal distances stay together
        within -= 1
    if not within:
        return []
    between = (reference[within - 1] + reference[within]) / 2  # on neither, so that rounding for people changes no count
    note = f"at most {LEVEL:.0%} of the {many(len(reference), 'real image')} known not to be used are this near"
    return [Threshold(name="reference", value=floor(between) if bits else between, note=note)]
