"""Nearest neighbours between real and generated images: both directions, every view, and combined."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.build.build import Progress, silent
from indexer.device import Device
from indexer.execution.executor import Executor
from indexer.types import Neighbours
from query.comparison.all_pairs import Wanted, all_pairs, k_of_generated
from query.comparison.bulk import Scale
from query.comparison.combined import COMBINED, weights_of
from query.comparison.mirrored import merge_mirrored
from query.comparison.parts import READ, InParts, parts_of
from query.comparison.reductions.driver import Generated, OneByOne, Reduction
from query.comparison.reductions.histogram import Histogram
from query.comparison.reductions.neighbours import NearestGenerated
from query.comparison.reductions.sides import RealVectors, Shard, ViewVectors, real_side, shards
from query.comparison.scores import NEAR, Score, real_scores, scores
from query.inputs.images import Images
from query.inputs.sides import Sides

K = 50  # neighbours kept: enough for d1/d50
_QUERIES = 100_000  # generated images that FAISS is asked for at a time


@dataclass(frozen=True)
class ViewResult:
    """What one view says.

    Attributes:
        real: each real image's nearest generated ones, (nr, k).
        generated: each generated image's nearest real ones, (ng, `all_pairs.k_of_generated`): k, fewer of very many images.
        histogram: of all pairs.
        real_scores: name -> (nr,) float64.
        generated_scores: name -> (ng,) float64.
        scale: what the distances are standardised by; None of the combined view.
        distances: (nr, ng) float32 of all pairs, where they were asked for.
        plain: the same to the real images as they are; None of the combined view.
    """

    real: Neighbours
    generated: Neighbours
    histogram: Histogram
    real_scores: Mapping[Score, NDArray[np.float64]]
    generated_scores: Mapping[Score, NDArray[np.float64]]
    scale: Scale | None = None
    distances: NDArray[np.float32] | None = None
    plain: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class By:
    """Who computes.

    Attributes:
        device: where distances of all pairs are computed and FAISS searches approximate indexes, None for the CPU; an exact
            index finds what comparing all pairs does.
        executor: who goes through the generated images, each shard or part of a collection a piece of work; None for this thread.
    """

    device: Device | None = None
    executor: Executor | None = None


def search(
    sides: Sides,
    *,
    k: int = K,
    by: By | None = None,
    distances: bool = False,
    also: Sequence[Reduction[Any]] = (),
    progress: Progress = silent,
) -> dict[str, ViewResult]:
    """Both directions in every view of the generated collection, and the view `combined`.

    Vectors of large collections are mapped from their files and read shard by shard, which are let go of. What grows with the
    generated side are the neighbours, moments and scores of each generated image.

    Args:
        sides: what is compared; with flipped real images the nearer of both counts, and neighbours say which it was.
        k: neighbours wanted of each real image, and of each generated one unless there are very many, see
            `query.comparison.all_pairs.k_of_generated`.
        by: who computes, default this thread on the CPU.
        distances: whether to return those of all pairs.
        also: further reductions, fed with the same pairs, of single views.
        progress: called with stage, steps done, steps in all.
    """
    real, generated = sides.real, sides.generated
    by = by or By()
    where = by.device.search if by.device else "cpu"
    views = view_vectors(sides)
    by_index = [view for view in views if not (real.exact(view) and generated.exact(view))]
    both = {}
    for number, view in enumerate(by_index, 1):
        both[view] = _both_ways(view, sides, k, where)
        progress("searching", number, len(by_index) + 1)
    wanted = Wanted(k, k_of_generated(k, len(generated)), [view for view in views if view not in both], distances)
    reals = real_side(views, by.device.network if by.device else "cpu")
    pairs = all_pairs(reals, generated_of(views, generated, by.executor), wanted, also)
    both |= {view: (pairs.real[view], pairs.generated[view]) for view in pairs.real}
    progress("searching", len(by_index) + 1, len(by_index) + 1)
    results = {}
    for view in (*views, COMBINED):
        counted = [views[name] for name in (weights_of(views) if view == COMBINED else [view])]
        blank = (
            np.logical_and.reduce([each.real_blank for each in counted]),
            np.logical_and.reduce([each.generated_blank for each in counted]),
        )
        own = None if view == COMBINED else _own_nearest(views[view], generated, both[view][0], where, by.executor)
        results[view] = ViewResult(
            *both[view],
            pairs.histograms[view],
            real_scores(*both[view], blank, own),
            scores(both[view][1], blank[1], ratios=own is not None),
            pairs.scales.get(view),
            pairs.distances.get(view),
            None if own is None else pairs.plain.get(view, pairs.distances.get(view)),
        )
    return results


def view_vectors(sides: Sides) -> dict[str, ViewVectors]:
    """Both sides in every view of the generated images."""
    real, generated, flipped = sides.real, sides.generated, sides.flipped
    return {
        view: ViewVectors(
            generated.specs[view],
            real.vectors[view],
            flipped.vectors[view] if flipped else None,
            generated.vectors[view],
            real.blank[view],
            generated.blank[view],
        )
        for view in generated.views
    }


def _both_ways(view: str, sides: Sides, k: int, device: str) -> tuple[Neighbours, Neighbours]:
    """Each real image's nearest generated ones, each generated image's nearest real ones."""
    real, generated, flipped = sides.real, sides.generated, sides.flipped
    to_generated = generated.nearest(view, real.vectors[view], k, device)
    if flipped is not None:
        to_generated = merge_mirrored(to_generated, generated.nearest(view, flipped.vectors[view], k, device))
    vectors, few = generated.vectors[view], k_of_generated(k, len(generated))
    parts = []
    for start in range(0, len(vectors), _QUERIES):
        part = real.nearest(view, vectors[start : start + _QUERIES], few, device)
        if flipped is not None:
            part = merge_mirrored(part, flipped.nearest(view, vectors[start : start + _QUERIES], few, device))
        parts.append(part)
    columns = (np.concatenate(column) for column in zip(*((p.rows, p.distances, p.mirrored) for p in parts), strict=True))
    return to_generated, Neighbours(*columns)


def _own_nearest(
    view: ViewVectors, images: Images, found: Neighbours, device: str, executor: Executor | None
) -> dict[int, float]:
    """For the rows that stand among the first neighbours: distance to the nearest other row of their side."""
    name, near = view.spec.view, np.unique(found.rows[:, :NEAR])
    near = near[near >= 0]
    if images.exact(name):
        nearest = NearestGenerated(name, view.spec.metric, len(near), 2)
        queries = RealVectors(view.spec, view.generated[near], None, np.zeros(len(near), bool))
        generated_of({name: view}, images, executor).feed({name: queries}, [nearest])
        own = nearest.result()
    else:
        own = images.nearest(name, view.generated[near], 2, device)
    # the row itself is at 0 and, among equals, need not come first: the second distance is right in either case
    return {int(row): float(pair[1]) for row, pair in zip(near, own.distances, strict=True) if pair[1] < np.finfo(np.float32).max}


def generated_of(views: Mapping[str, ViewVectors], images: Images, executor: Executor | None) -> Generated:
    """The generated images, to be gone through by this thread or by pieces of work."""
    if executor is None or images.collection is None:
        return OneByOne(partial(_read, views, images))
    return InParts(executor, parts_of(images.collection))


def _read(views: Mapping[str, ViewVectors], generated: Images) -> Iterator[Shard]:
    """The generated images some at a time; what was read of them is given back before the next."""
    for shard in shards(views, generated.cuts(READ)):
        yield shard
        generated.release()
