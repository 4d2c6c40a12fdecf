"""Percentiles of a pair's distances: among all pairs, and among the reference."""

from typing import Any

from query.database.store import Store
from query.report.statistics import recorded_distances
from query.service.backend.runs.catalogue import REFERENCE, views
from query.service.schemas import PairDistance, Place


def distances_of(store: Store, run: int, real: int, generated: int) -> dict[str, PairDistance]:
    """View -> distance of a pair with its place."""
    asked = {"run": run, "real": real, "generated": generated}
    recorded, blank, mirror = recorded_distances(store, run, real, generated), _blank(store, asked), mirrors(store, run)
    found = {}
    for name, view in views(store, run).items():
        distance = recorded[name].distance if name in recorded else None
        mirrored = recorded[name].mirrored if name in recorded else None
        place = Place(of_all_pairs=None, of_reference=None, reference=0)
        if distance is not None and name not in blank:
            place = _place(store, {"run": run, "view": name, "distance": distance}, real)
        found[name] = PairDistance(
            distance=distance,
            unit=view.unit,
            short_unit=view.short_unit,
            mirrored=mirrored if mirror else False,
            blank=name in blank,
            place=place,
        )
    return found


def _blank(store: Store, asked: dict[str, Any]) -> set[str]:
    query = "SELECT DISTINCT unnest(blank) AS view FROM images WHERE run_id = $run AND image_id IN ($real, $generated)"
    return set(store.sql(query, asked)["view"].to_pylist())


def mirrors(store: Store, run: int) -> bool:
    """Whether the run looked for flipped copies too."""
    return bool(store.sql("SELECT mirror FROM runs WHERE run_id = $run", {"run": run})["mirror"][0].as_py())


def _place(store: Store, asked: dict[str, Any], real: int) -> Place:
    """Exact where every pair is kept; else of the histogram's bins all up to the one that holds the distance."""
    (among,) = store.sql(
        f"""SELECT
            (SELECT count(*) FILTER (distance <= $distance) / nullif(count(*), 0) FROM distances
                WHERE run_id = $run AND view = $view) AS exactly,
            (SELECT sum(pairs) FILTER (low <= $distance) / sum(pairs) FROM histograms
                WHERE run_id = $run AND view = $view) AS binned,
            (SELECT count(*) FILTER (d1 <= $distance) / nullif(count(*), 0) FROM ({REFERENCE}) AS r WHERE {_OTHERS}) AS reference,
            (SELECT count(*) FROM ({REFERENCE}) AS r WHERE {_OTHERS}) AS images""",
        {**asked, "real": real},
    ).to_pylist()
    of_all = among["binned"] if among["exactly"] is None else among["exactly"]
    return Place(of_all_pairs=of_all, of_reference=among["reference"], reference=among["images"])


# an image is no reference for itself, nor is another of its group
_OTHERS = """r.view = $view AND r.image_id <> $real AND (r."group" IS NULL OR r."group" IS DISTINCT FROM (
    SELECT "group" FROM images WHERE run_id = $run AND image_id = $real))"""
