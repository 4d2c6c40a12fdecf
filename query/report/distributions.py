"""Histograms of distances: all pairs, and nearest images by label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from embeddings.types import Metric
from query.database.store import Store
from query.evaluation.resampling import Estimate, Measured
from query.membership.cross_fit import WRONG
from query.report.histograms import Floats, Histogram, coarse, counted, joined
from query.report.statistics import recorded_views, rows, separation

GROUPS = ("used", "not used", "unlabelled")
ALL_PAIRS, GENERATED = "all pairs", "generated"


@dataclass(frozen=True)
class Nearest:
    """Distances of images of a kind to their nearest of the other side; None is not shown.

    Attributes:
        images: ``generated``, or what is known of the real ones.
        middle_half: mean of the middle half of the distances; a median is the distance of one image or two.
        q05: the distance that 5% are nearer than.
    """

    images: str
    middle_half: float
    number: int | None = None
    smallest: float | None = None
    q05: float | None = None
    median: float | None = None


@dataclass(frozen=True)
class NearestDistances:
    """Smallest and median distance of the images of a side to their nearest of the other; None where a view sees none of them."""

    smallest: float | None = None
    median: float | None = None


@dataclass(frozen=True)
class Reference:
    """The distance that at most a share of so many images known not to be used come nearer than."""

    distance: float
    share: float
    images: int


@dataclass(frozen=True)
class Threshold:
    """The threshold of a method, as a distance of the view."""

    method: str
    distance: float
    calibrated: bool


@dataclass(frozen=True)
class ViewSummary:
    """A view of a run; what is None is not shown in the public form.

    Attributes:
        view, metric, dim, unit, note: what it is.
        fingerprint: first characters.
        blank: role -> images that the view sees nothing in.
        pairs: number of all pairs.
        nearest: by what is known of the images.
        histogram: of all pairs, and of the nearest by what is known of the images.
        reference: what images known not to be used say.
        auroc: of the distance to the nearest, used against not used.
        real, generated: of the images of either side.
        all_pairs_median: of the distances of all pairs.
        all_pairs_median_exact: else it is the middle of the bin that holds it: the run keeps no single distances.
        thresholds: of methods that go by this distance.
    """

    view: str
    metric: str
    dim: int
    unit: str
    note: str
    fingerprint: str | None
    blank: Mapping[str, int] | None
    pairs: int | None
    nearest: Sequence[Nearest]
    histogram: Mapping[str, Histogram]
    reference: Reference | None
    auroc: Estimate | None
    real: NearestDistances = NearestDistances()
    generated: NearestDistances = NearestDistances()
    all_pairs_median: float | None = None
    all_pairs_median_exact: bool = True
    thresholds: Sequence[Threshold] = ()


def distributions(store: Store, run: int, groups: Mapping[int, str], least: int | None = None) -> list[ViewSummary]:
    """Each view of a run: what it is, nearest distances by group, histograms, the mark that the reference gives.

    Args:
        groups: number of a real image -> its group, see `query.database.record.known_groups`.
        least: real images in a bin, for histograms that may be made public; None for fine ones.
    """
    histograms = rows(store, "SELECT view, low, high, pairs FROM histograms WHERE run_id = $run ORDER BY view, low", run)
    nearest, blank = nearest_images(store, run), _blank_images(store, run)
    generated = int((rows(store, "SELECT role FROM images WHERE run_id = $run", run)["role"] == "generated").sum())
    summaries, medians = [], _medians(store, run)
    for view in recorded_views(store, run):
        bins, of_view = histograms[histograms["view"] == view.view], nearest[nearest["view"] == view.view]
        series = _series(of_view)
        summaries.append(
            ViewSummary(
                view=view.view,
                metric=view.metric,
                dim=view.dim,
                unit=view.unit,
                note=view.note,
                fingerprint=view.fingerprint[:12],
                blank={role: blank.get((role, view.view), 0) for role in ("real", "generated")},
                pairs=int(bins["pairs"].sum()),
                nearest=[_described(name, values) for name, values in series.items()],
                histogram=_fine(bins, series) if least is None else _coarse(bins, series, least * generated, least),
                reference=_reference(series["not used"]) if "not used" in series else None,
                auroc=_auroc(of_view, groups),
                real=nearest_distances(of_view, "real"),
                generated=nearest_distances(of_view, "generated"),
                all_pairs_median=medians.get(view.view, _middle(bins, view.metric)),
                all_pairs_median_exact=view.view in medians or view.metric == Metric.HAMMING,
            )
        )
    return summaries


def _fine(bins: pd.DataFrame, series: Mapping[str, Floats]) -> dict[str, Histogram]:
    if bins.empty:  # a run without pairs
        return {}
    edges, pairs = joined(_edges(bins), bins["pairs"].to_numpy(np.int64), series.values())
    counts = {ALL_PAIRS: pairs, **{name: counted(values, edges) for name, values in series.items()}}
    return {name: Histogram(edges.tolist(), each.tolist()) for name, each in counts.items() if each.sum()}


def _edges(bins: pd.DataFrame) -> Floats:
    return np.append(bins["low"], bins["high"].iloc[-1])


def _coarse(bins: pd.DataFrame, series: Mapping[str, Floats], pairs_least: int, least: int) -> dict[str, Histogram]:
    """Shares of all pairs and of real images in wide bins of the database's grid, which no image has a part in.

    A bin of pairs holds as many as `least` real images have together, so that it is not one image with all its copies. Generated
    images are left out: eleven of them near to a real image may be copies of that one. No end is where the outermost image is:
    histograms span the whole grid, but those of real images end at the median of all pairs if they do not reach it.
    """
    if not bins["pairs"].sum():
        return {}
    edges, pairs = _edges(bins), bins["pairs"].to_numpy(np.int64)
    middle = int(np.searchsorted(2 * pairs.cumsum(), pairs.sum())) + 1
    made = {ALL_PAIRS: coarse(edges.tolist(), pairs.tolist(), pairs_least)}
    for name in GROUPS:
        if name in series:
            counts = counted(series[name], edges)
            upto = len(counts) if counts[middle:].any() else middle
            made[name] = coarse(edges[: upto + 1].tolist(), counts[:upto].tolist(), least)
    return {name: _shares(found) for name, found in made.items() if found}


def _shares(histogram: Histogram) -> Histogram:
    """Without counts: their sum would tell how many images a view is blind to."""
    total = sum(histogram.counts)
    return Histogram(histogram.edges, shares=[round(count / total, 2) for count in histogram.counts])


def _medians(store: Store, run: int) -> dict[str, float]:
    """Median distance of all pairs, the lower one of two, by view, where the run keeps all distances."""
    query = "SELECT view, quantile_disc(distance, 0.5) AS median FROM distances WHERE run_id = $run GROUP BY view"
    return {row["view"]: row["median"] for row in store.sql(query, {"run": run}).to_pylist()}


def _middle(bins: pd.DataFrame, metric: str) -> float | None:
    """Middle of the bin that holds the median of all pairs; of a Hamming view the distance itself."""
    if bins.empty:
        return None
    pairs = bins["pairs"].to_numpy(np.int64).cumsum()
    low, high = bins[["low", "high"]].iloc[int(np.searchsorted(2 * pairs, pairs[-1]))]
    return float(low + high - (metric == Metric.HAMMING)) / 2


def nearest_images(store: Store, run: int) -> pd.DataFrame:
    """view, role, series, image_id, distance: each image to its nearest of the other role; blank ones left out."""
    query = """SELECT n.view, n.query_role AS role, n.query_id AS image_id, CAST(n.distance AS DOUBLE) AS distance,
            CASE WHEN n.query_role = 'generated' THEN 'generated' ELSE membership(l.used) END AS series
        FROM neighbours AS n
        JOIN run_views AS v ON v.run_id = n.run_id AND v.view = n.view
        JOIN images AS q ON q.run_id = n.run_id AND q.image_id = n.query_id
        JOIN images AS o ON o.run_id = n.run_id AND o.image_id = n.neighbour_id
        LEFT JOIN labels AS l ON l.run_id = n.run_id AND l.image_id = n.query_id
        WHERE n.run_id = $run AND n.rank = 1 AND NOT list_contains(q.blank, n.view) AND NOT list_contains(o.blank, n.view)
        ORDER BY n.view, n.query_id"""
    return rows(store, query, run)


def nearest_distances(nearest: pd.DataFrame, role: str) -> NearestDistances:
    """Of the images of a side, in rows of `nearest_images` of one view."""
    values = nearest.loc[nearest["role"] == role, "distance"].to_numpy(np.float64)
    return NearestDistances(float(values.min()), float(np.median(values))) if len(values) else NearestDistances()


def _blank_images(store: Store, run: int) -> dict[tuple[str, str], int]:
    """(role, view) -> in how many images the view saw nothing, where there are any."""
    query = """SELECT role, view, count(*) AS images
        FROM (SELECT role, unnest(blank) AS view FROM images WHERE run_id = $run) GROUP BY role, view"""
    return {(row["role"], row["view"]): row["images"] for row in store.sql(query, {"run": run}).to_pylist()}


def _series(nearest: pd.DataFrame) -> dict[str, Floats]:
    """Group of real images, or generated images -> their distances, those that there are."""
    found = {name: nearest.loc[nearest["series"] == name, "distance"].to_numpy(np.float64) for name in (*GROUPS, GENERATED)}
    return {name: values for name, values in found.items() if len(values)}


def _described(name: str, values: Floats) -> Nearest:
    low, middle = np.quantile(values, [0.05, 0.5])
    quarter = len(values) // 4
    half = np.sort(values)[quarter : len(values) - quarter]
    return Nearest(name, float(half.mean()), len(values), float(values.min()), float(low), float(middle))


def _reference(values: Floats) -> Reference:
    """The distance that at most a share `WRONG` of the images known not to be used come nearer than."""
    allowed = int(WRONG * len(values))
    return Reference(float(np.sort(values)[allowed]), WRONG, len(values))


def _auroc(nearest: pd.DataFrame, groups: Mapping[int, str]) -> Measured | None:
    """How well the distance to the nearest tells used from not used images; None where images of one kind are not known."""
    known = nearest[nearest["series"].isin(("used", "not used"))]
    used = (known["series"] == "used").to_numpy(bool)
    if used.all() or not used.any():
        return None
    of = np.array([groups[image] for image in known["image_id"]], str)
    return separation(-known["distance"].to_numpy(np.float64), used, of)  # as summary.txt has it
