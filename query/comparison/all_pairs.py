"""All pairs of real and generated images in two passes: neighbours, statistics, histograms, and the combined view."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Metric
from indexer.search import brute_force
from indexer.types import Neighbours
from query.comparison.bulk import Scale
from query.comparison.combined import COMBINED, Evidence, combined, standardised_pairs, weights_of
from query.comparison.reductions.driver import Generated, OneByOne, Reduction
from query.comparison.reductions.histogram import COMBINED_EDGES, Histogram, PairCounts, edges_of
from query.comparison.reductions.matrix import AllDistances, PlainDistances
from query.comparison.reductions.moments import BulkMoments
from query.comparison.reductions.neighbours import NearestGenerated, NearestReal
from query.comparison.reductions.sides import RealVectors, ViewVectors, real_side, shards

_PAIRS = 20_000  # single pairs compared at a time
_ORDINARY = 100_000  # generated images up to which each keeps as many neighbours as a real one
_MOST = 5_000_000  # neighbours of all generated images together, in each view, beyond that
_LEAST = 10  # of each generated image: as many as `Score.MEAN_K` looks at, and as step match compares


@dataclass(frozen=True)
class Wanted:
    """What is wanted of all pairs.

    Attributes:
        k: neighbours of each real image.
        k_of_generated: of each generated image; None for as many. See `k_of_generated`.
        neighbours: views whose neighbours are wanted besides those of the combined one.
        distances: whether the distances of all pairs are to be kept.
    """

    k: int
    k_of_generated: int | None = None
    neighbours: Collection[str] = ()
    distances: bool = False


@dataclass(frozen=True)
class AllPairs:
    """What is known of all pairs, by view.

    Attributes:
        real: each real image's nearest generated ones, (nr, k), of the views wanted and the combined one.
        generated: each generated image's nearest real ones, (ng, k), the same.
        histograms: of all views and the combined one.
        scales: what the distances are standardised by, of all views.
        distances: (nr, ng) float32 of all views and the combined one; empty where they are not wanted.
        plain: the same of all views to the real images as they are, where flipped ones count too.
    """

    real: Mapping[str, Neighbours]
    generated: Mapping[str, Neighbours]
    histograms: Mapping[str, Histogram]
    scales: Mapping[str, Scale]
    distances: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    plain: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def all_pairs(
    reals: Mapping[str, RealVectors],
    generated: Generated,
    wanted: Wanted,
    also: Sequence[Reduction[Any]] = (),
) -> AllPairs:
    """All pairs in two passes: the first finds moments and neighbours, the second the combined view and histograms.

    Args:
        reals: view -> all real images, at least one.
        generated: all of them; they are gone through twice.
        wanted: see there.
        also: further reductions, fed in the first pass.
    """
    count, per_generated = len(next(iter(reals.values())).blank), wanted.k_of_generated or wanted.k
    metric = {name: reals[name].spec.metric for name in wanted.neighbours} | {COMBINED: Metric.COSINE}
    nearest = {
        name: (NearestGenerated(name, metric[name], count, wanted.k), NearestReal(name, metric[name], per_generated))
        for name in metric
    }
    moments = {name: BulkMoments(name, count) for name in weights_of(reals)}
    edges = {name: edges_of(view.spec) for name, view in reals.items()} | {COMBINED: COMBINED_EDGES}
    counted = {name: PairCounts(name, edges[name]) for name in edges}
    matrices = {name: AllDistances(name) for name in edges} if wanted.distances else {}
    plain = {name: PlainDistances(name) for name, view in reals.items() if wanted.distances and view.flipped is not None}

    single = (each for name in wanted.neighbours for each in nearest[name])
    generated.feed(reals, [*moments.values(), *single, *also])
    scales = {name: each.result() for name, each in moments.items()}
    found = {name: _both(nearest, name) for name in wanted.neighbours}
    kept = [*matrices.values(), *plain.values()]
    generated.feed(reals, [*counted.values(), *nearest[COMBINED], *kept], scales)
    found[COMBINED] = _both(nearest, COMBINED)
    return AllPairs(
        {name: to_generated for name, (to_generated, _) in found.items()},
        {name: to_real for name, (_, to_real) in found.items()},
        {name: each.result() for name, each in counted.items()},
        scales,
        {name: each.result() for name, each in matrices.items()},
        {name: each.result() for name, each in plain.items()},
    )


def _both(nearest: dict[str, tuple[NearestGenerated, NearestReal]], view: str) -> tuple[Neighbours, Neighbours]:
    """The results of one view, whose reductions are let go of: they hold as much again."""
    to_generated, to_real = nearest.pop(view)
    return to_generated.result(), to_real.result()


def k_of_generated(k: int, generated: int) -> int:
    """Neighbours to keep of each generated image, where a real one keeps k.

    As many, up to 100,000 generated images; beyond, 5,000,000 of all of them together, but at least 10 of each. They are the
    largest part of what grows with the generated side: 13 bytes each, in each view and the combined one.
    """
    return k if generated <= _ORDINARY else min(k, max(_LEAST, _MOST // generated))


def all_pairs_of(views: Mapping[str, ViewVectors], wanted: Wanted, also: Sequence[Reduction[Any]] = ()) -> AllPairs:
    """The same where the generated side is at hand as a whole."""
    return all_pairs(real_side(views), OneByOne(lambda: shards(views)), wanted, also)


def combined_of_pairs(
    views: Mapping[str, ViewVectors],
    scales: Mapping[str, Scale],
    reals: NDArray[np.int64],
    generateds: NDArray[np.int64],
) -> NDArray[np.float32]:
    """The combined distance of single pairs of rows, (n,), as `all_pairs` computes it; scales are its as well."""
    found = np.zeros(len(reals), np.float32)
    for start in range(0, len(reals), _PAIRS):
        here = slice(start, start + _PAIRS)
        r, g = reals[here], generateds[here]
        found[here] = combined({name: _of_pairs(views[name], scales[name], r, g) for name in weights_of(views)})
    return found


def _of_pairs(view: ViewVectors, scale: Scale, reals: NDArray[np.int64], generateds: NDArray[np.int64]) -> Evidence:
    blank = view.real_blank[reals] | view.generated_blank[generateds]
    own = Scale(scale.real.take(reals), scale.generated.take(generateds))
    return standardised_pairs(_distances(view, reals, generateds), own, blank)


def _distances(view: ViewVectors, reals: NDArray[np.int64], generateds: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n,) distances of pairs of rows, to the flipped image where that is nearer."""
    sides = [side[reals][:, None] for side in (view.real, view.mirrored) if side is not None]
    queries = view.generated[generateds]
    nearest = np.min([brute_force.paired_distances(view.spec.metric, queries, side)[:, 0] for side in sides], axis=0)
    return np.asarray(nearest, np.float32)
