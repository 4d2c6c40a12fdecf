"""Nearest neighbours between real and generated images: both directions, every view, and combined."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.build.build import Progress, silent
from indexer.collection import Collection
from indexer.device import Device
from indexer.manifest import CollectionError
from indexer.types import Neighbours
from query.comparison.all_pairs import COMBINED, Histogram, Keep, Seen, combine, mirrored_pairs, refuse_empty, weights_of
from query.comparison.scores import NEAR, Score, density, nearest_counts, scores, without

K = 50  # neighbours kept: enough for d1/d50


@dataclass(frozen=True)
class ViewResult:
    """What one view says.

    Attributes:
        real: each real image's nearest generated ones, (nr, k).
        generated: each generated image's nearest real ones, (ng, k).
        histogram: of all pairs.
        real_scores: name -> (nr,) float64.
        generated_scores: name -> (ng,) float64.
    """

    real: Neighbours
    generated: Neighbours
    histogram: Histogram
    real_scores: Mapping[Score, NDArray[np.float64]]
    generated_scores: Mapping[Score, NDArray[np.float64]]


def search(
    real: Collection,
    generated: Collection,
    *,
    mirrored: Collection | None = None,
    k: int = K,
    device: Device | None = None,
    keep: Keep | None = None,
    progress: Progress = silent,
) -> dict[str, ViewResult]:
    """Both directions in every view of the generated collection, and the view `combined`.

    Args:
        real: the real images, seen as `generated` sees.
        generated: the generated images.
        mirrored: the real images flipped; then the nearer of both counts, and neighbours say which it was.
        k: neighbours wanted.
        device: where FAISS searches, default the CPU.
        keep: receives the distances of all pairs in tiles.
        progress: called with stage, steps done, steps in all.

    Raises:
        CollectionError: the collections were made differently, or one is empty.
    """
    refuse_empty(len(real), len(generated))
    generated.comparable(real, generated.views)
    if mirrored is not None:
        _check_mirrored(real, mirrored, generated)
    where = device.search if device else "cpu"
    seen = seen_views(real, generated, mirrored)
    both = {}
    for number, view in enumerate(seen, 1):
        both[view] = _both_ways(view, real, mirrored, generated, k, where)
        progress("searching", number, len(seen) + 1)
    combination = combine(seen, k, keep)
    both[COMBINED] = (combination.real, combination.generated)
    if mirrored is not None:
        both[COMBINED] = (mirrored_pairs(seen, combination.real, True), mirrored_pairs(seen, combination.generated, False))
    progress("searching", len(seen) + 1, len(seen) + 1)
    results = {}
    for view, (to_generated, to_real) in both.items():
        plain = view != COMBINED
        counted = [seen[view]] if plain else [seen[name] for name in weights_of(seen)]
        real_blank = np.logical_and.reduce([s.real_blank for s in counted])
        generated_blank = np.logical_and.reduce([s.generated_blank for s in counted])
        real_scores = scores(to_generated, plain) | {Score.NEAREST_COUNT: nearest_counts(to_real, len(real), generated_blank)}
        if plain:
            real_scores[Score.DENSITY] = density(to_generated, _own_nearest(generated, view, to_generated, where))
        results[view] = ViewResult(
            to_generated,
            to_real,
            combination.histograms[view],
            without(real_scores, real_blank),
            without(scores(to_real, plain), generated_blank),
        )
    return results


def seen_views(real: Collection, generated: Collection, mirrored: Collection | None) -> dict[str, Seen]:
    """Both sides in every view of the generated images."""
    return {view: _seen(view, real, mirrored, generated) for view in generated.views}


def _seen(view: str, real: Collection, mirrored: Collection | None, generated: Collection) -> Seen:
    flipped = mirrored.vectors(view) if mirrored is not None else None
    return Seen(
        generated.spec(view), real.vectors(view), flipped, generated.vectors(view), real.blank(view), generated.blank(view)
    )


def _check_mirrored(real: Collection, mirrored: Collection, generated: Collection) -> None:
    generated.comparable(mirrored, generated.views)
    if not mirrored.manifest.mirrored or mirrored.images["sha256"] != real.images["sha256"]:
        raise CollectionError(f"{mirrored.folder} does not hold the flipped images of {real.folder}; build it again")


def _both_ways(
    view: str, real: Collection, mirrored: Collection | None, generated: Collection, k: int, device: str
) -> tuple[Neighbours, Neighbours]:
    """Each real image's nearest generated ones, each generated image's nearest real ones."""
    to_generated = generated.search(view, real.vectors(view), k, device)
    to_real = real.search(view, generated.vectors(view), k, device)
    if mirrored is not None:
        to_generated = merge_mirrored(to_generated, generated.search(view, mirrored.vectors(view), k, device))
        to_real = merge_mirrored(to_real, mirrored.search(view, generated.vectors(view), k, device))
    return to_generated, to_real


def merge_mirrored(plain: Neighbours, flipped: Neighbours) -> Neighbours:
    """The k nearest of two searches over the same rows, each row once, marked where the flipped image was nearer.

    Exact as long as both searches are: a row among the k nearest of the union is among the k nearest of its own search.
    """
    rows = np.hstack([plain.rows, flipped.rows])
    distances = np.hstack([plain.distances, flipped.distances])
    mirrored = np.hstack([np.zeros(plain.rows.shape, bool), np.ones(flipped.rows.shape, bool)])
    order = np.lexsort((mirrored, rows, distances), axis=1)
    rows, distances, mirrored = (np.take_along_axis(a, order, 1) for a in (rows, distances, mirrored))
    by_row = np.lexsort((np.broadcast_to(np.arange(rows.shape[1]), rows.shape), rows), axis=1)
    sorted_rows = np.take_along_axis(rows, by_row, 1)
    repeated = np.zeros(rows.shape, bool)
    np.put_along_axis(repeated, by_row[:, 1:], (sorted_rows[:, 1:] == sorted_rows[:, :-1]) & (sorted_rows[:, 1:] >= 0), 1)
    first = np.argsort(repeated, axis=1, kind="stable")[:, : plain.k]
    return Neighbours(*(np.ascontiguousarray(np.take_along_axis(a, first, 1)) for a in (rows, distances, mirrored)))


def _own_nearest(collection: Collection, view: str, found: Neighbours, device: str) -> dict[int, float]:
    """For the rows that stand among the first neighbours: distance to the nearest other row of their collection."""
    near = np.unique(found.rows[:, :NEAR])
    near = near[near >= 0]
    own = collection.search(view, collection.vectors(view)[near], 2, device)
    # the row itself is at 0 and, among equals, need not come first: the second distance is right in either case
    return {int(row): float(pair[1]) for row, pair in zip(near, own.distances, strict=True) if pair[1] < np.finfo(np.float32).max}
