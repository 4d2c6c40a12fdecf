"""Run statistics from the database, for the summary and the report."""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from indexer.collection import Collection
from indexer.search import brute_force
from query.comparison.combined import COMBINED
from query.comparison.scores import Score
from query.database.store import Store
from query.evaluation.resampling import Measured, auroc, grouped_interval
from query.inputs.groups import Groups
from query.inputs.sides import Sides

MOST_COPIED = 20  # real images listed


def gather(
    store: Store, run: int, sides: Sides, *, groups: Groups | None = None, threshold: int | None = None, pairs: int = 12
) -> dict[str, Any]:
    """All numbers of a run as JSON-able values; `query.flow.Audit.as_dict` names them.

    Args:
        groups: of the real images, needed where there are labels.
        threshold: bits of phash, the caller's own.
        pairs: closest pairs wanted.
    """
    described = rows(store, "SELECT mirror, k, distances FROM runs WHERE run_id = $run", run).to_dict("records")[0]
    return {
        "run": run,
        **described,
        "counts": {"generated": _counts(sides.generated.stored), "real": _counts(sides.real.stored)},
        "views": _views(store, run),
        "shared": _shared(store, run, sides),
        "closest_pairs": closest_pairs(store, run, sides, pairs),
        "most_copied": _most_copied(store, run),
        "agreement": _agreement(store, run),
        "threshold": None if threshold is None else _within(store, run, threshold),
        "groups": None if groups is None else {"known": groups.known, "note": groups.note},
        "labels": None if groups is None else _labels(store, run, groups),
    }


def rows(store: Store, query: str, run: int, **parameters: Any) -> pd.DataFrame:
    """The result of a query with `$run`."""
    return store.sql(query, {"run": run, **parameters}).to_pandas(use_threads=False)


def _counts(collection: Collection) -> dict[str, Any]:
    manifest = collection.manifest
    return {"images": manifest.images, "failed": manifest.failed, "ignored": manifest.ignored, "source": manifest.source}


def _views(store: Store, run: int) -> dict[str, Any]:
    """View -> metric, dim, note, blank images, and smallest and median distance to the nearest in both directions."""
    described = rows(store, "SELECT view, metric, dim, note FROM run_views WHERE run_id = $run", run).set_index("view")
    blank = blank_images(store, run)
    middle = rows(
        store,
        """SELECT view, min_by((low + high - CASE WHEN metric = 'hamming' THEN 1 ELSE 0 END) / 2, low) AS median
        FROM distance_histogram JOIN run_views USING (run_id, view)
        WHERE run_id = $run AND cumulative_share >= 0.5 GROUP BY view""",
        run,
    ).set_index("view")["median"]
    nearest = {role: _nearest(store, run, role) for role in ("real", "generated")}
    return {
        view: {
            **described.loc[view].to_dict(),
            "blank": {role: blank.get((role, view), 0) for role in nearest},
            **{role: found.get(view, {"smallest": None, "median": None}) for role, found in nearest.items()},
            "all_pairs_median": float(middle[view]),
        }
        for view in in_order(described.index)
    }


def blank_images(store: Store, run: int) -> dict[tuple[str, str], int]:
    """(role, view) -> in how many images the view saw nothing, where there are any."""
    query = """SELECT role, view, count(*) AS images
        FROM (SELECT role, unnest(blank) AS view FROM images WHERE run_id = $run) GROUP BY role, view"""
    return {(row.role, row.view): int(row.images) for row in rows(store, query, run).itertuples()}


def _nearest(store: Store, run: int, role: str) -> dict[str, Any]:
    """View -> smallest and median distance of the images of a role to their nearest of the other; blank ones left out."""
    table = {"real": "nearest_generated", "generated": "nearest_source"}[role]
    query = f"""SELECT view, min(distance) AS smallest, CAST(median(distance) AS DOUBLE) AS median
        FROM {table} WHERE run_id = $run AND NOT blank GROUP BY view"""
    found: dict[str, Any] = rows(store, query, run).set_index("view").astype(float).to_dict("index")
    return found


def _shared(store: Store, run: int, sides: Sides) -> dict[str, Any]:
    """Generated files that are real ones, byte for byte."""
    found = rows(
        store,
        """SELECT count(DISTINCT g.path) AS generated_files, count(DISTINCT r.path) AS real_files,
            min_by(g.name || ' = ' || r.name, (g.image_id, r.image_id)) AS example
        FROM images AS g JOIN images AS r ON r.sha256 = g.sha256
        WHERE g.run_id = $run AND r.run_id = $run AND g.role = 'generated' AND r.role = 'real'""",
        run,
    ).to_dict("records")[0]
    files = [(side.manifest.source, set(side.table["path"].to_pylist())) for side in (sides.real.stored, sides.generated.stored)]
    example = found["example"] if found["generated_files"] else None
    return {
        "same_files": files[0] == files[1],
        **{k: int(found[k]) for k in ("generated_files", "real_files")},
        "example": example,
    }


def closest_pairs(store: Store, run: int, sides: Sides, count: int) -> list[dict[str, Any]]:
    """The nearest pairs by the combined view, each real image once, with their distance in every view."""
    found = rows(
        store,
        f"""SELECT r.name AS real, g.name AS generated, n.distance, n.mirrored,
            n.query_id - $first AS real_row, n.neighbour_id AS generated_row
        FROM neighbours AS n
        JOIN images AS r ON r.run_id = n.run_id AND r.image_id = n.query_id
        JOIN images AS g ON g.run_id = n.run_id AND g.image_id = n.neighbour_id
        WHERE n.run_id = $run AND n.query_role = 'real' AND n.rank = 1 AND n.view = '{COMBINED}'
            AND NOT list_contains(r.blank, n.view) AND NOT list_contains(g.blank, n.view)
        ORDER BY n.distance, n.query_id LIMIT $count""",
        run,
        first=len(sides.generated),
        count=count,
    )
    real, generated = found["real_row"].to_numpy(), found["generated_row"].to_numpy()
    by_view = {view: _distances(sides, view, real, generated) for view in sides.generated.views}
    by_view = {COMBINED: found["distance"].to_numpy(), **by_view}
    pairs = found.drop(columns="distance").to_dict("records")
    return [{**pair, "distances": {view: float(d[i]) for view, d in by_view.items()}} for i, pair in enumerate(pairs)]


def _distances(sides: Sides, view: str, real: NDArray[np.int64], generated: NDArray[np.int64]) -> NDArray[Any]:
    """Distances of pairs of rows; with flipped images the smaller of both."""
    metric = sides.generated.specs[view].metric
    theirs = sides.generated.vectors[view][generated][:, None]
    mine = [side.vectors[view][real] for side in (sides.real, sides.flipped) if side is not None]
    nearest: NDArray[Any] = np.min([brute_force.paired_distances(metric, vectors, theirs)[:, 0] for vectors in mine], axis=0)
    return nearest


def _most_copied(store: Store, run: int) -> dict[str, Any]:
    """Real images by how many generated ones have them as nearest by the combined view."""
    found = store.analyse("most-copied", run=run, limit=MOST_COPIED).to_pandas(use_threads=False)
    found = found[found["view"] == COMBINED].drop(columns="view")
    usable = rows(
        store,
        f"""SELECT role, count(*) AS images FROM images
        WHERE run_id = $run AND NOT list_contains(blank, '{COMBINED}') GROUP BY role""",
        run,
    ).set_index("role")["images"]
    real, generated = (int(usable.get(role, 0)) for role in ("real", "generated"))
    images = found.rename(columns={"real_image": "real"}).to_dict("records")
    return {"by_chance": generated / real if real else None, "images": images}


def _agreement(store: Store, run: int) -> dict[str, Any]:
    """How often views name the same nearest real image, and how often they would if they knew nothing of each other.

    By chance: each view names real images as often as it does, but independently, so that favourites (hubs) count.
    """
    query = f"""SELECT view, generated_image, source FROM nearest_source
        WHERE run_id = $run AND NOT blank AND view IN (SELECT view FROM run_views WHERE run_id = $run AND view <> '{COMBINED}')"""
    sources = rows(store, query, run).pivot(index="generated_image", columns="view", values="source").dropna()
    views = list(sources.columns)
    chosen = [*combinations(views, 2), *([tuple(views)] if len(views) > 2 else [])]
    reals = rows(store, "SELECT count(*) AS n FROM images WHERE run_id = $run AND role = 'real'", run)["n"][0]
    pairs = []
    for some in chosen if len(sources) else []:
        same = sources[list(some)].eq(sources[some[0]], axis=0).all(axis=1)
        shares = pd.concat([sources[view].value_counts(normalize=True) for view in some], axis=1).fillna(0)
        by_chance = float(shares.prod(axis=1).sum())
        pairs.append({"views": list(some), "same_source": int(same.sum()), "share": float(same.mean()), "by_chance": by_chance})
    return {"images": len(sources), "one_in": 1 / int(reals), "pairs": pairs}


def _within(store: Store, run: int, bits: int) -> dict[str, Any]:
    """Images within the caller's threshold, from either side."""
    counted = {
        f"{role}_images": int(
            rows(
                store,
                f"SELECT count(*) AS n FROM {table} WHERE run_id = $run AND view = 'phash' AND NOT blank AND distance <= $bits",
                run,
                bits=bits,
            )["n"][0]
        )
        for role, table in (("generated", "nearest_source"), ("real", "nearest_generated"))
    }
    return {"view": "phash", "bits": bits, "calibrated": False, **counted}


def labelled(store: Store, run: int) -> pd.DataFrame:
    """image_id, view, used and d1 of every labelled real image that is not blank, in the order of ids."""
    return rows(
        store,
        f"""SELECT s.image_id, s.view, l.used, s.value AS d1
        FROM scores AS s JOIN labels AS l ON l.run_id = s.run_id AND l.image_id = s.image_id
        WHERE s.run_id = $run AND s.score = '{Score.D1}' ORDER BY s.view, s.image_id""",
        run,
    )


def label_counts(store: Store, run: int) -> dict[str, int]:
    """Real images by what is known of them: ``used``, ``not_used``, ``unlabelled``."""
    query = """SELECT count(*) FILTER (l.used) AS used, count(*) FILTER (NOT l.used) AS not_used,
            count(*) FILTER (l.used IS NULL) AS unlabelled
        FROM images AS i LEFT JOIN labels AS l ON l.run_id = i.run_id AND l.image_id = i.image_id
        WHERE i.run_id = $run AND i.role = 'real'"""
    counts: dict[str, int] = store.sql(query, {"run": run}).to_pylist()[0]
    return counts


def _labels(store: Store, run: int, groups: Groups) -> dict[str, Any]:
    """Numbers of labels, and by view the AUROC of d1 with its interval."""
    first = rows(store, "SELECT min(image_id) AS first FROM images WHERE run_id = $run AND role = 'real'", run)["first"][0]
    found = {}
    for view, d in labelled(store, run).groupby("view"):
        of_row = groups.of_row[d["image_id"].to_numpy() - first]
        found[str(view)] = separation(-d["d1"].to_numpy(), d["used"].to_numpy(bool), of_row)
    return {**label_counts(store, run), "auroc": {view: found[view] for view in in_order(found)}}


def separation(scores: NDArray[np.float64], positive: NDArray[np.bool_], groups: NDArray[Any]) -> Measured:
    """AUROC with its interval by groups."""
    return Measured.beside(grouped_interval(lambda taken: auroc(scores[taken], positive[taken]), groups), images=len(scores))


def in_order(views: Iterable[str]) -> list[str]:
    """Views as everywhere in a summary: combined first, then by name."""
    return sorted(views, key=lambda view: (view != COMBINED, view))
