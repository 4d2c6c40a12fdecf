"""Distances of all real-generated pairs, in tiles: statistics, histograms, and the combined view."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec, Metric
from indexer.manifest import CollectionError
from indexer.search import brute_force
from indexer.types import Neighbours

COMBINED = "combined"
# Chosen on benchmarks from seeds 101 to 105: with it the combination is nowhere below the best view (docs/METHODS.md).
WEIGHTS: Mapping[str, float] = {"resnet": 2.0, "sift": 2.0}  # other views: 1
_TILE = (500, 8000)  # real x generated images compared at a time: 16 MB a view
_BINS = 200  # of a histogram of cosine distances
_COMBINED_RANGE = (-15.0, 5.0)  # standard deviations that a combined histogram spans; what lies outside falls into the end bins

Side = NDArray[np.generic]


@dataclass(frozen=True)
class Seen:
    """One view of both sides.

    Attributes:
        spec: of the vectors.
        real: (nr, width) vectors.
        mirrored: the same of the flipped real images, or None.
        generated: (ng, width) vectors.
        real_blank: (nr,) bool.
        generated_blank: (ng,) bool.
    """

    spec: EmbeddingSpec
    real: Side
    mirrored: Side | None
    generated: Side
    real_blank: NDArray[np.bool_]
    generated_blank: NDArray[np.bool_]

    def distances(self, reals: slice, generateds: slice) -> NDArray[np.float32]:
        """(r, g) float32; with mirrored vectors the smaller of both distances."""
        plain = brute_force.distances(self.spec.metric, self.real[reals], self.generated[generateds])
        if self.mirrored is not None:
            plain = np.minimum(plain, brute_force.distances(self.spec.metric, self.mirrored[reals], self.generated[generateds]))
        return plain.astype(np.float32)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of the distances of each real and each generated image to the other side."""

    real_mean: NDArray[np.float64]
    real_std: NDArray[np.float64]
    generated_mean: NDArray[np.float64]
    generated_std: NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """Exact counts of all pairs: `counts[i]` lie in `edges[i] <= d < edges[i + 1]`, the last bin holds its upper edge too."""

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]


Keep = Callable[[str, slice, slice, NDArray[np.float32]], None]  # view, real rows, generated rows, distances (r, g)


def weights_of(views: Iterable[str]) -> dict[str, float]:
    """View -> how much it counts in the combination."""
    return {view: WEIGHTS.get(view, 1.0) for view in views}


def tiles(reals: int, generateds: int) -> Iterator[tuple[slice, slice]]:
    """Slices of real and generated rows that together cover all pairs once."""
    for g in range(0, generateds, _TILE[1]):
        for r in range(0, reals, _TILE[0]):
            yield slice(r, min(r + _TILE[0], reals)), slice(g, min(g + _TILE[1], generateds))


def spread(seen: Seen) -> Spread:
    """Statistics over all pairs of one view, in double precision."""
    nr, ng = len(seen.real), len(seen.generated)
    real, generated = np.zeros((2, nr)), np.zeros((2, ng))  # sums, sums of squares
    for r, g in tiles(nr, ng):
        d = seen.distances(r, g).astype(np.float64)
        for power, values in enumerate((d, d * d)):
            real[power, r] += values.sum(axis=1)
            generated[power, g] += values.sum(axis=0)
    return Spread(*_moments(real, ng), *_moments(generated, nr))


def _moments(sums: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation from (2, n) sums and sums of squares."""
    mean, square = sums / count
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def standardised(
    seen: Seen, over: Spread, reals: slice, generateds: slice, distances: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(r, g) distances as the mean of two standard scores: over the real image's candidates and over the generated image's.

    The second takes away what an image that is near to everything has ahead of others (hubs; compare CSLS, Conneau et al., ICLR
    2018). Where nothing varies, or one image is blank in this view, the score is 0: no evidence either way.
    """
    by_real = _score(distances, over.real_mean[reals, None], over.real_std[reals, None])
    by_generated = _score(distances, over.generated_mean[None, generateds], over.generated_std[None, generateds])
    scores = (by_real + by_generated) / 2
    scores[seen.real_blank[reals]] = 0
    scores[:, seen.generated_blank[generateds]] = 0
    return scores


def _score(distances: NDArray[np.float32], mean: NDArray[np.float64], std: NDArray[np.float64]) -> NDArray[np.float64]:
    known = std > 1e-9
    return np.asarray(np.where(known, (distances - mean) / np.where(known, std, 1), 0))


@dataclass(frozen=True)
class Combination:
    """The combined view: neighbours in both directions, and the histogram of every view and of itself."""

    real: Neighbours
    generated: Neighbours
    histograms: Mapping[str, Histogram]


def combine(views: Mapping[str, Seen], k: int, keep: Keep | None = None) -> Combination:
    """Weighted root mean square of the views' standardised distances, signs kept, for every pair, and what is counted on the way.

    Squares, because a view in which the pair stands out far must not be outvoted by views that see nothing: the logarithm of a
    normal density falls with the square, so the sum is that of log likelihoods of independent views.

    Args:
        views: at least one, all with the same images.
        k: neighbours wanted.
        keep: called with every tile of every view and of the combination.
    """
    first = next(iter(views.values()))
    nr, ng = len(first.real), len(first.generated)
    weights = weights_of(views)
    spreads = {name: spread(views[name]) for name in weights}
    edges = {name: _edges(seen.spec) for name, seen in views.items()} | {COMBINED: np.linspace(*_COMBINED_RANGE, _BINS + 1)}
    counts = {name: np.zeros(len(e) - 1, np.int64) for name, e in edges.items()}
    nearest_generated, nearest_real = _Nearest(nr, k), _Nearest(ng, k)
    for r, g in tiles(nr, ng):
        total = np.zeros((r.stop - r.start, g.stop - g.start))
        for name, seen in views.items():
            d = seen.distances(r, g)
            if name in weights:
                total += weights[name] * _signed_square(standardised(seen, spreads[name], r, g, d))
            counts[name] += _count(d, edges[name])
            if keep:
                keep(name, r, g, d)
        mean = _signed_root(total / sum(weights.values())).astype(np.float32)
        counts[COMBINED] += _count(mean, edges[COMBINED])
        if keep:
            keep(COMBINED, r, g, mean)
        nearest_generated.add(r, g, mean)
        nearest_real.add(g, r, mean.T)
    histograms = {name: Histogram(edges[name], counts[name]) for name in edges}
    return Combination(nearest_generated.neighbours(), nearest_real.neighbours(), histograms)


def combined_of_pairs(views: Mapping[str, Seen], reals: NDArray[np.int64], generateds: NDArray[np.int64]) -> NDArray[np.float32]:
    """The combined distance of single pairs of rows, (n,), as `combine` computes it."""
    weights = weights_of(views)
    spreads = {name: spread(views[name]) for name in weights}
    made = np.empty(len(reals), np.float32)
    for generated in np.unique(generateds):
        here = np.flatnonzero(generateds == generated)
        column = slice(int(generated), int(generated) + 1)
        total = np.zeros(len(here))
        for name, weight in weights.items():
            seen = _rows(views[name], reals[here])
            d = seen.distances(slice(None), column)
            over = spreads[name]
            picked = Spread(over.real_mean[reals[here]], over.real_std[reals[here]], over.generated_mean, over.generated_std)
            total += weight * _signed_square(standardised(seen, picked, slice(None), column, d))[:, 0]
        made[here] = _signed_root(total / sum(weights.values()))
    return made


def _rows(seen: Seen, reals: NDArray[np.int64]) -> Seen:
    """The view with some of the real images."""
    mirrored = None if seen.mirrored is None else seen.mirrored[reals]
    return replace(seen, real=seen.real[reals], mirrored=mirrored, real_blank=seen.real_blank[reals])


def mirrored_pairs(views: Mapping[str, Seen], found: Neighbours, by_real: bool) -> Neighbours:
    """Combined neighbours, marked where the views by weighted majority find the flipped image nearer.

    `by_real` tells whether the queries are the real images.
    """
    votes = np.zeros(found.rows.shape)
    step = max(1, 20_000 // max(1, found.k))
    for name, weight in weights_of(views).items():
        seen = views[name]
        for start in range(0, len(votes), step):
            rows = np.maximum(found.rows[start : start + step], 0)
            mine = slice(start, start + len(rows))
            plain, flipped = (
                brute_force.paired_distances(seen.spec.metric, seen.generated[mine], side[rows])
                if not by_real
                else brute_force.paired_distances(seen.spec.metric, side[mine], seen.generated[rows])
                for side in (seen.real, seen.mirrored)
                if side is not None
            )
            votes[mine] += weight * np.sign(plain.astype(np.float64) - flipped)
    return Neighbours(found.rows, found.distances, (votes > 0) & (found.rows >= 0))


def combined_of_query(views: Sequence[tuple[str, NDArray[np.float32]]]) -> NDArray[np.float64]:
    """The combination where only one side is there to standardise over: (nq, n) distances by view -> (nq, n)."""
    total, weights = np.zeros(views[0][1].shape), weights_of(name for name, _ in views)
    for name, d in views:
        if name not in weights:
            continue
        exactly = d.astype(np.float64)
        scores = _score(d, exactly.mean(axis=1, keepdims=True), exactly.std(axis=1, keepdims=True))
        total += weights[name] * _signed_square(scores)
    return _signed_root(total / sum(weights.values()))


def _signed_square(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return scores * np.abs(scores)


def _signed_root(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sign(squares) * np.sqrt(np.abs(squares)))


class _Nearest:
    """The k nearest so far of each of n queries, fed with tiles."""

    def __init__(self, queries: int, k: int) -> None:
        self._rows = np.full((queries, k), -1, np.int64)
        self._distances = np.full((queries, k), np.finfo(np.float32).max, np.float32)

    def add(self, queries: slice, candidates: slice, distances: NDArray[np.float32]) -> None:
        """Take (q, c) distances of these queries to these candidates into account."""
        k = self._rows.shape[1]
        numbers = np.broadcast_to(np.arange(candidates.start, candidates.stop), distances.shape)
        rows = np.hstack([self._rows[queries], numbers])
        joined = np.hstack([self._distances[queries], distances])
        best = np.argpartition(joined, k - 1, axis=1)[:, :k]
        rows, joined = np.take_along_axis(rows, best, 1), np.take_along_axis(joined, best, 1)
        order = np.lexsort((rows, joined), axis=1)
        self._rows[queries] = np.take_along_axis(rows, order, 1)
        self._distances[queries] = np.take_along_axis(joined, order, 1)

    def neighbours(self) -> Neighbours:
        """The result."""
        return Neighbours(self._rows, self._distances, np.zeros(self._rows.shape, bool))


def _edges(spec: EmbeddingSpec) -> NDArray[np.float64]:
    """One bin a distance for hamming; equal bins over 0..2 for cosine."""
    if spec.metric is Metric.HAMMING:
        return np.arange(spec.dim + 2, dtype=np.float64)
    return np.linspace(0, 2, _BINS + 1)


def _count(distances: NDArray[np.float32], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Counts by bin; what lies outside falls into the end bins, so that no pair is lost."""
    scaled = (distances.ravel().astype(np.float64) - edges[0]) * ((len(edges) - 1) / (edges[-1] - edges[0]))
    return np.bincount(np.clip(scaled.astype(np.int64), 0, len(edges) - 2), minlength=len(edges) - 1)


def refuse_empty(real: int, generated: int) -> None:
    """Two sides are needed to compare.

    Raises:
        CollectionError: one has no image.
    """
    for role, count in (("real", real), ("generated", generated)):
        if count == 0:
            raise CollectionError(f"no {role} image could be read, so there is nothing to compare; see the failures above")
