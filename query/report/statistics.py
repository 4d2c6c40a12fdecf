"""Statistics of a run from the database, for the summary of an audit; and queries that several parts of a report share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from indexer.search import brute_force
from query.comparison.combined import COMBINED
from query.database.store import Store
from query.evaluation.resampling import Measured, auroc, grouped_interval
from query.inputs.groups import DUPLICATES, ONE_FILE
from query.inputs.sides import Sides
from query.report.text.units import unit

MOST_COPIED = 20  # real images listed
GIVEN, LIKENESS, NOBODY = "given", "near-duplicates", "nobody"  # who says which real images are of one patient
# the nearest pairs by the combined view, each real image once
CLOSEST = f"""FROM neighbours AS n
    JOIN images AS r ON r.run_id = n.run_id AND r.image_id = n.query_id
    JOIN images AS g ON g.run_id = n.run_id AND g.image_id = n.neighbour_id
    WHERE n.run_id = $run AND n.query_role = 'real' AND n.rank = 1 AND n.view = '{COMBINED}'
        AND NOT list_contains(r.blank, n.view) AND NOT list_contains(g.blank, n.view)
    ORDER BY n.distance, n.query_id LIMIT $count"""


@dataclass(frozen=True)
class RecordedView:
    """A view as a run recorded it; fingerprint in full."""

    view: str
    metric: str
    dim: int
    note: str
    fingerprint: str

    @property
    def unit(self) -> str:
        """What its distances are, for the axis of a plot."""
        return unit(self.view, self.metric, self.dim)


@dataclass(frozen=True)
class RecordedDistance:
    """Distance of a pair, and whether it is that of the flipped real image, None where the run did not keep that."""

    distance: float
    mirrored: bool | None


@dataclass(frozen=True)
class SharedFiles:
    """Generated files that are real ones, byte for byte.

    Attributes:
        same_files: both sides are the same files.
        generated_files, real_files: how many have their equal on the other side.
        example: the first pair by names, None without any.
    """

    same_files: bool
    generated_files: int
    real_files: int
    example: str | None


@dataclass(frozen=True)
class ClosestPair:
    """A real image and its nearest generated one by the combined view.

    Attributes:
        mirrored: the flipped real image is the nearer one.
        real_row, generated_row: rows of their collections.
        distances: by view, the combined one first.
    """

    real: str
    generated: str
    mirrored: bool
    real_row: int
    generated_row: int
    distances: Mapping[str, float]


@dataclass(frozen=True)
class CopiedImage:
    """A real image that is the nearest one of so many generated images, by the combined view."""

    real: str
    membership: str
    generated_images: int
    nearest_distance: float
    median_distance: float


@dataclass(frozen=True)
class MostCopied:
    """Real images that are the nearest one of most generated images, and of how many each would be by chance, on average."""

    by_chance: float | None
    images: Sequence[CopiedImage]


@dataclass(frozen=True)
class SameSource:
    """How often some views name the same nearest real image.

    Attributes:
        by_chance: the share if each view named real images as often as it does, but independently: favourites (hubs) count.
    """

    views: Sequence[str]
    same_source: int
    share: float
    by_chance: float


@dataclass(frozen=True)
class Agreement:
    """Agreement of views on the nearest real image, of so many generated images; by pure chance it is one in so many."""

    images: int
    one_in: float
    pairs: Sequence[SameSource]


@dataclass(frozen=True)
class ThresholdCount:
    """Images of either side within the caller's threshold of the other side."""

    view: str
    bits: int
    calibrated: bool
    generated_images: int
    real_images: int


def rows(store: Store, query: str, run: int, **parameters: Any) -> pd.DataFrame:
    """The result of a query with `$run`."""
    return store.sql(query, {"run": run, **parameters}).to_pandas(use_threads=False)


def recorded_views(store: Store, run: int) -> list[RecordedView]:
    """The views of a run, the combined one first, then by name."""
    query = f"""SELECT view, metric, dim, note, fingerprint FROM run_views
        WHERE run_id = $run ORDER BY view <> '{COMBINED}', view"""
    return [RecordedView(**row) for row in store.sql(query, {"run": run}).to_pylist()]


def recorded_distances(store: Store, run: int, real: int, generated: int) -> dict[str, RecordedDistance]:
    """View -> distance of a pair, as far as the run kept it.

    Args:
        real, generated: ids of the images.
    """
    # a pair's distance can be kept three times, and differ in its last bits: the one among all pairs comes first
    query = """SELECT view, min_by(distance, kept) AS distance, any_value(mirrored) AS mirrored FROM (
            SELECT view, distance, CAST(NULL AS BOOLEAN) AS mirrored, 0 AS kept FROM distances
            WHERE run_id = $run AND real_id = $real AND generated_id = $generated
            UNION ALL
            SELECT view, distance, mirrored, if(query_role = 'real', 1, 2) AS kept FROM neighbours
            WHERE run_id = $run AND (query_id, neighbour_id) IN (($real, $generated), ($generated, $real))
        ) GROUP BY view"""
    rows = store.sql(query, {"run": run, "real": real, "generated": generated}).to_pylist()
    return {row.pop("view"): RecordedDistance(**row) for row in rows}


def in_order(views: Iterable[str]) -> list[str]:
    """Views as everywhere in a summary: combined first, then by name."""
    return sorted(views, key=lambda view: (view != COMBINED, view))


def label_counts(store: Store, run: int) -> dict[str, int]:
    """Real images by what is known of them: ``used``, ``not_used``, ``unlabelled``."""
    query = """SELECT count(*) FILTER (l.used) AS used, count(*) FILTER (NOT l.used) AS not_used,
            count(*) FILTER (l.used IS NULL) AS unlabelled
        FROM images AS i LEFT JOIN labels AS l ON l.run_id = i.run_id AND l.image_id = i.image_id
        WHERE i.run_id = $run AND i.role = 'real'"""
    counts: dict[str, int] = store.sql(query, {"run": run}).to_pylist()[0]
    return counts


def groups_from(groups: Mapping[int, str]) -> str:
    """Who says which real images are of one patient.

    Args:
        groups: see `query.database.record.known_groups`.
    """
    named = [group for group in groups.values() if group.startswith("group: ")]
    named = [group for group in named if not group.startswith(f"group: {ONE_FILE} ")]
    if not named:
        return NOBODY
    return LIKENESS if all(group.startswith(f"group: {DUPLICATES}") for group in named) else GIVEN


def separation(scores: NDArray[np.float64], positive: NDArray[np.bool_], groups: NDArray[Any]) -> Measured:
    """AUROC with its interval by groups."""
    return Measured.beside(grouped_interval(lambda taken: auroc(scores[taken], positive[taken]), groups), images=len(scores))


def file(table: str) -> str:
    """SQL of what counts as a file of an image in a table `images` of this alias: a picture of an array counts by itself."""
    return f"CASE WHEN {table}.mode LIKE 'array %' THEN {table}.name ELSE {table}.path END"


def content(table: str) -> str:
    """SQL of what tells the content of an image in a table `images` of this alias.

    The hash of the file, and the number of a frame; a picture of an array has a hash of its own, unless the array lies in an
    archive or a table.
    """
    alone = f"{table}.mode LIKE 'array %' AND NOT regexp_matches(lower({table}.path), '[.](zip|tar|parquet)/')"
    return f"CASE WHEN {alone} THEN {table}.sha256 ELSE {table}.sha256 || '#' || {table}.frame END"


def shared_files(store: Store, run: int) -> SharedFiles:
    """Generated files that are real ones, byte for byte; whether both sides are the same files."""
    query = f"""WITH files AS (
            SELECT role, path FROM images WHERE run_id = $run UNION SELECT role, path FROM failures WHERE run_id = $run)
        SELECT count(DISTINCT {file("g")}) AS generated_files, count(DISTINCT {file("r")}) AS real_files,
            min_by(g.name || ' = ' || r.name, (g.image_id, r.image_id)) AS example,
            (SELECT real_source = generated_source FROM runs WHERE run_id = $run)
                AND NOT EXISTS (SELECT path FROM files GROUP BY path HAVING count(*) = 1) AS same_files
        FROM images AS g JOIN images AS r ON r.sha256 = g.sha256 AND {content("r")} = {content("g")}
        WHERE g.run_id = $run AND r.run_id = $run AND g.role = 'generated' AND r.role = 'real'"""
    return SharedFiles(**store.sql(query, {"run": run}).to_pylist()[0])


def closest_pairs(store: Store, run: int, sides: Sides, count: int) -> list[ClosestPair]:
    """The nearest pairs by the combined view, each real image once, with their distance in every view."""
    columns = "r.name AS real, g.name AS generated, n.mirrored, n.query_id - $first AS real_row, n.neighbour_id AS generated_row"
    found = rows(store, f"SELECT {columns}, n.distance {CLOSEST}", run, first=len(sides.generated), count=count)
    real, generated = found["real_row"].to_numpy(), found["generated_row"].to_numpy()
    by_view = {COMBINED: found.pop("distance").to_numpy()}
    by_view |= {view: _distances(sides, view, real, generated) for view in sides.generated.views}
    return [
        ClosestPair(**pair, distances={view: float(distances[place]) for view, distances in by_view.items()})
        for place, pair in enumerate(found.to_dict("records"))
    ]


def _distances(sides: Sides, view: str, real: NDArray[np.int64], generated: NDArray[np.int64]) -> NDArray[Any]:
    """Distances of pairs of rows; with flipped images the smaller of both."""
    metric = sides.generated.specs[view].metric
    theirs = sides.generated.vectors[view][generated][:, None]
    mine = [side.vectors[view][real] for side in (sides.real, sides.flipped) if side is not None]
    nearest: NDArray[Any] = np.min([brute_force.paired_distances(metric, vectors, theirs)[:, 0] for vectors in mine], axis=0)
    return nearest


def most_copied(store: Store, run: int, real: int, generated: int) -> MostCopied:
    """Real images by how many generated ones have them as nearest by the combined view.

    Args:
        real, generated: images of either side that the combined view is not blank to.
    """
    found = [row for row in store.analyse("most-copied", run=run, limit=MOST_COPIED).to_pylist() if row.pop("view") == COMBINED]
    return MostCopied(generated / real if real else None, [CopiedImage(row.pop("real_image"), **row) for row in found])


def agreement(store: Store, run: int, real: int) -> Agreement:
    """How often views name the same nearest real image of `real`, and how often they would if they were independent."""
    query = f"""SELECT view, generated_image, source FROM nearest_source
        WHERE run_id = $run AND NOT blank AND view IN (SELECT view FROM run_views WHERE run_id = $run AND view <> '{COMBINED}')"""
    sources = rows(store, query, run).pivot(index="generated_image", columns="view", values="source").dropna()
    views = list(sources.columns)
    chosen = [*combinations(views, 2), *([tuple(views)] if len(views) > 2 else [])]
    return Agreement(len(sources), 1 / real, [_same_source(sources[list(some)]) for some in chosen if len(sources)])


def _same_source(sources: pd.DataFrame) -> SameSource:
    """Of some views; a column each, a row for each generated image."""
    same = sources.eq(sources.iloc[:, 0], axis=0).all(axis=1)
    shares = pd.concat([sources[view].value_counts(normalize=True) for view in sources], axis=1).fillna(0)
    return SameSource(list(sources), int(same.sum()), float(same.mean()), float(shares.prod(axis=1).sum()))


def within_threshold(store: Store, run: int, bits: int) -> ThresholdCount:
    """Images within so many bits of view phash, from either side."""
    query = "SELECT count(*) AS n FROM {} WHERE run_id = $run AND view = 'phash' AND NOT blank AND distance <= $bits"
    generated, real = (
        int(rows(store, query.format(table), run, bits=bits)["n"][0]) for table in ("nearest_source", "nearest_generated")
    )
    return ThresholdCount("phash", bits, calibrated=False, generated_images=generated, real_images=real)
