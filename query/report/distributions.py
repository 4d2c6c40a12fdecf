"""Histograms of distances: all pairs, and nearest images by label."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from embeddings.types import Metric
from query.database.store import Store
from query.evaluation.resampling import Measured
from query.membership.cross_fit import WRONG
from query.report.run_summary import blank_images, in_order, rows, separation
from query.report.text.units import unit

BARS = 40  # about so many bins across a figure
GROUPS = ("used", "not used", "unlabelled")
ALL_PAIRS, GENERATED = "all pairs", "generated"

Counts = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


def distributions(store: Store, run: int, groups: Mapping[int, str], least: int | None = None) -> list[dict[str, Any]]:
    """Each view of a run, JSON-able: what it is, nearest distances by group, histograms, the mark that the reference gives.

    Args:
        groups: number of a real image -> its group, see `query.database.record.known_groups`.
        least: real images in a bin, for histograms that may be made public; None for fine ones.
    """
    described = rows(store, "SELECT view, metric, dim, note, fingerprint FROM run_views WHERE run_id = $run", run).set_index(
        "view"
    )
    histograms = rows(store, "SELECT view, low, high, pairs FROM histograms WHERE run_id = $run ORDER BY view, low", run)
    images = rows(store, "SELECT role FROM images WHERE run_id = $run", run)
    nearest, blank = _nearest(store, run), blank_images(store, run)
    made = []
    for view in in_order(described.index):
        about = described.loc[view]
        series = _series(nearest[nearest["view"] == view])
        bins = histograms[histograms["view"] == view]
        if least is None:
            histogram = _fine(bins, series, about["metric"])
        else:
            histogram = _coarse(bins, series, least, int((images["role"] == "generated").sum()))
        made.append(
            {
                "view": view,
                "metric": about["metric"],
                "dim": int(about["dim"]),
                "unit": unit(view, about["metric"], int(about["dim"])),
                "note": about["note"],
                "fingerprint": about["fingerprint"][:12],
                "blank": {role: blank.get((role, view), 0) for role in ("real", "generated")},
                "pairs": int(bins["pairs"].sum()),
                "nearest": [_described(name, values) for name, values in series.items()],
                "histogram": histogram,
                "reference": _reference(series["not used"]) if "not used" in series else None,
                "auroc": _auroc(nearest[nearest["view"] == view], groups),
            }
        )
    return made


def _fine(bins: pd.DataFrame, series: Mapping[str, Floats], metric: str) -> dict[str, Any]:
    edges, pairs = joined(bins, series, metric)
    counted = {ALL_PAIRS: pairs, **{name: _counted(values, edges) for name, values in series.items()}}
    return {name: {"edges": edges.tolist(), "counts": c.tolist()} for name, c in counted.items() if c.sum()}


def _coarse(bins: pd.DataFrame, series: Mapping[str, Floats], least: int, generated: int) -> dict[str, Any]:
    """Shares of all pairs and of real images in wide bins of the database's grid, which no image has a part in.

    A bin of pairs holds as many as `least` real images have together, so that it is not one image with all its copies. Generated
    images are left out: eleven of them near to a real image may be copies of that one. No end is where the outermost image is:
    histograms span the whole grid, but those of real images end at the median of all pairs if they do not reach it.
    """
    if not bins["pairs"].sum():
        return {}
    edges, pairs = np.append(bins["low"], bins["high"].iloc[-1]), bins["pairs"].to_numpy(np.int64)
    middle = int(np.searchsorted(2 * pairs.cumsum(), pairs.sum())) + 1
    made = {ALL_PAIRS: coarse(edges.tolist(), pairs.tolist(), least * generated)}
    for name in GROUPS:
        if name in series:
            counts = _counted(series[name], edges)
            upto = len(counts) if counts[middle:].any() else middle
            made[name] = coarse(edges[: upto + 1].tolist(), counts[:upto].tolist(), least)
    return {name: _shares(found) for name, found in made.items() if found}


def _shares(found: Mapping[str, Any]) -> dict[str, Any]:
    """Without counts: their sum would tell how many images a view is blind to."""
    total = sum(found["counts"])
    return {"edges": found["edges"], "shares": [round(count / total, 2) for count in found["counts"]]}


def joined(bins: pd.DataFrame, series: Mapping[str, Floats], metric: str) -> tuple[Floats, Counts]:
    """Edges and counts of all pairs over what occurs, bins joined until there are about `BARS`."""
    if bins.empty:  # a run without pairs
        return np.array([0.0, 1.0]), np.zeros(1, np.int64)
    edges, counts = np.append(bins["low"], bins["high"].iloc[-1]), bins["pairs"].to_numpy(np.int64)
    occupied = counts + sum((_counted(values, edges) for values in series.values()), np.zeros(len(counts), np.int64))
    first, last = np.flatnonzero(occupied)[[0, -1]] if occupied.any() else (0, 0)
    together = max(1, round((last + 1 - first) / BARS))
    if metric == Metric.HAMMING:
        together += together % 2  # hashes of balanced bits differ in even numbers of bits only: an odd width would show a comb
    many = -(-(last + 1 - first) // together)
    width = edges[1] - edges[0]
    padded = np.pad(counts[first : last + 1], (0, many * together - (last + 1 - first)))
    return edges[first] + width * together * np.arange(many + 1), padded.reshape(many, together).sum(axis=1)


def coarse(edges: Sequence[float], counts: Sequence[int], fewest: int) -> dict[str, Any] | None:
    """The same histogram with neighbouring bins joined until each holds so many images or more; None with fewer than two bins.

    A bin that holds one image gives away its distance to who can compute that distance: whoever has the generated images and
    the picture of a patient could see whether the patient is among the real ones.
    """
    kept_edges, kept, held = [float(edges[0])], [], 0
    for high, count in zip(edges[1:], counts, strict=True):
        held += count
        if held >= fewest:
            kept_edges.append(float(high))
            kept.append(held)
            held = 0
    if kept and held:  # what is left over belongs to the last bin
        kept[-1] += held
        kept_edges[-1] = float(edges[-1])
    return {"edges": kept_edges, "counts": kept} if len(kept) > 1 else None


def of_values(groups: Mapping[str, Floats]) -> dict[str, Any]:
    """Histograms of the values of a method, by group."""
    every = np.concatenate([np.empty(0), *groups.values()])
    if not len(every):
        return {}
    low, high = float(every.min()), float(every.max())
    edges = np.linspace(low, high if high > low else low + 1, BARS + 1)
    return {name: {"edges": edges.tolist(), "counts": np.histogram(v, edges)[0].tolist()} for name, v in groups.items() if len(v)}


def _nearest(store: Store, run: int) -> pd.DataFrame:
    """view, series, image_id, distance: each image to its nearest of the other role; blank ones left out."""
    query = """SELECT n.view, n.query_id AS image_id, CAST(n.distance AS DOUBLE) AS distance,
            CASE WHEN n.query_role = 'generated' THEN 'generated' ELSE membership(l.used) END AS series
        FROM neighbours AS n
        JOIN run_views AS v ON v.run_id = n.run_id AND v.view = n.view
        JOIN images AS q ON q.run_id = n.run_id AND q.image_id = n.query_id
        JOIN images AS o ON o.run_id = n.run_id AND o.image_id = n.neighbour_id
        LEFT JOIN labels AS l ON l.run_id = n.run_id AND l.image_id = n.query_id
        WHERE n.run_id = $run AND n.rank = 1 AND NOT list_contains(q.blank, n.view) AND NOT list_contains(o.blank, n.view)
        ORDER BY n.view, n.query_id"""
    return rows(store, query, run)


def _series(nearest: pd.DataFrame) -> dict[str, Floats]:
    """Group of real images, or generated images -> their distances, those that there are."""
    found = {name: nearest.loc[nearest["series"] == name, "distance"].to_numpy(np.float64) for name in (*GROUPS, GENERATED)}
    return {name: values for name, values in found.items() if len(values)}


def _counted(values: Floats, edges: Floats) -> Counts:
    """Counts by bin; what lies outside falls into the end bins, as in the database's histograms."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]


def _described(name: str, values: Floats) -> dict[str, Any]:
    low, middle = np.quantile(values, [0.05, 0.5])
    quarter = len(values) // 4
    half = np.sort(values)[quarter : len(values) - quarter]
    return {
        "images": name,
        "number": len(values),
        "smallest": float(values.min()),
        "q05": float(low),
        "median": float(middle),
        "middle_half": float(half.mean()),  # a median is the distance of one image or two
    }


def _reference(values: Floats) -> dict[str, Any]:
    """The distance that at most a share `WRONG` of the images known not to be used come nearer than."""
    allowed = int(WRONG * len(values))
    return {"distance": float(np.sort(values)[allowed]), "share": WRONG, "images": len(values)}


def _auroc(nearest: pd.DataFrame, groups: Mapping[int, str]) -> Measured | None:
    """How well the distance to the nearest tells used from not used images; None where images of one kind are not known."""
    known = nearest[nearest["series"].isin(("used", "not used"))]
    used = (known["series"] == "used").to_numpy(bool)
    if used.all() or not used.any():
        return None
    of = np.array([groups[image] for image in known["image_id"]], str)
    return separation(-known["distance"].to_numpy(np.float64), used, of)  # as summary.txt has it
