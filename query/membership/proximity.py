"""Proximity scores of a real image, which methods combine: pure functions of distances.

A view's distances stand here as logarithms, so that ratios become differences; a distance of 0 counts as `EPSILON`.
"""

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from embeddings.types import Metric
from query.membership.case import Case, Images, MembershipError, Rows, Values

# What a distance of 0 counts as: half a bit; of cosine distances ten times their rounding error.
EPSILON = {Metric.HAMMING: 0.5, Metric.COSINE: 1e-6}
NEAR = 5  # neighbours of `Nearness.NEAR`
WIDE = 50  # rank that `Nearness.D1_D50` compares with
SPAN = 20  # neighbours that `Nearness.RESIDUAL` explains an image by
RIVALS = 3  # generated images that `Nearness.CONTEST` looks at
LOST = -2.0  # of logarithms: farther by e^2 is lost for certain, so an exact copy of a rival does not outweigh one's own
RIDGE = 0.3  # of those explanations; the vectors have unit length
_STEP = 500  # generated images explained at a time
_TIE = 1e-12  # for each place in the order by contents: far less than codes differ
_TERMS = 1e-12  # weights of ranks below this are left out


class Nearness(StrEnum):
    """How near a real image lies to the generated ones in one view; of all of them larger is nearer."""

    D1 = "d1"  # - log distance to the nearest
    NEAR = "near"  # - mean log distance to the 5 nearest
    D1_D50 = "d1_d50"  # log of the distance to the fiftieth over that to the nearest
    CONTEST = "contest"  # how much nearer its 3 nearest are to it than to any real image of another group, see `contest`
    RESIDUAL = "residual"  # - log of what remains when the image is explained by its 20 nearest
    ATTRIBUTION = "attribution"  # how much of the generated images it explains beside the other real ones, see `attribution`


def nearness(case: Case, view: str, which: Nearness) -> Values:
    """(nr,) float64, NaN where the view saw nothing in the image. Kept with the case: it does not depend on labels.

    Where there are fewer generated images than a score looks at, it looks at all.

    Raises:
        MembershipError: there are fewer than two.
    """
    return case.once(f"{which} {view}", lambda: _nearness(case, view, which))


def _nearness(case: Case, view: str, which: Nearness) -> Values:
    if len(case.generated) < 2:
        raise MembershipError(f"there must be at least two generated images to measure nearness, got {len(case.generated)}")
    if which is Nearness.ATTRIBUTION:
        found = _attributed(case, view)
    elif which is Nearness.CONTEST:
        found = contest(case, view)
    elif which is Nearness.RESIDUAL:
        sides = [side for side in (case.real, case.flipped) if side is not None]
        found = np.max([_explained(case, side, view) for side in sides], axis=0)
    else:
        near = log_nearest(case, view, {Nearness.D1: 1, Nearness.NEAR: NEAR, Nearness.D1_D50: WIDE}[which])
        found = near[:, -1] - near[:, 0] if which is Nearness.D1_D50 else -near.mean(axis=1)
    return np.where(case.real.blank[view], np.nan, found)


def log_nearest(case: Case, view: str, k: int) -> Values:
    """(nr, k) logarithms of the distances to the k nearest generated images, nearest first; to all where there are no k."""
    metric, k = case.generated.specs[view].metric, min(k, len(case.generated))

    def make() -> Values:
        parts = []
        for block in case.blocks():
            found = case.distances(view, block)
            parts.append(np.sort(np.partition(found, k - 1, axis=1)[:, :k], axis=1))
        return logs(np.concatenate(parts), metric)

    return case.once(f"nearest {k} {view}", make)


def contest(case: Case, view: str, k: int = RIVALS) -> Values:
    """How much nearer its k nearest generated images lie to it than to any real image of another group: mean of log distances.

    A real image that merely is of the kind that the generator draws, of the same scanner say, lies near generated images; but
    those lie nearer still to the image that they were made from. So it loses where it is not the source, which distances alone
    do not tell. Blank images take no part; of equally near generated images those that speak for the image come first.

    Returns:
        (nr,) float64, above 0 for an image that is nearer than all others; 0 where there is no other group.
    """
    metric = case.generated.specs[view].metric
    made = ~case.generated.blank[view]
    k = min(k, int(made.sum()))
    first, second, holder = (found[made] for found in _nearest_groups(case, view))
    value = np.zeros(len(case.real))
    for block in case.blocks():
        mine = logs(case.distances(view, block)[:, made], metric)
        other = np.where(holder == case.groups[block, None], second, first)
        ahead = np.where(np.isfinite(other), np.maximum(other - mine, LOST), 0)
        rows = np.argpartition(mine - _TIE * ahead, k - 1, axis=1)[:, :k] if k else np.zeros((len(mine), 0), np.int64)
        value[block] = np.take_along_axis(ahead, rows, 1).sum(axis=1) / max(1, k)
    return value


def _nearest_groups(case: Case, view: str) -> tuple[Values, Values, NDArray[Any]]:
    """For each generated image log distances to its nearest real image and to the nearest of another group; the first's group."""
    metric, count = case.generated.specs[view].metric, len(case.generated)
    first, second = np.full(count, np.inf), np.full(count, np.inf)
    holder = np.full(count, case.groups[0])
    for block in case.blocks():
        for row, found in zip(range(len(case.real))[block], logs(case.distances(view, block), metric), strict=True):
            if case.real.blank[view][row]:
                continue
            same, nearer = holder == case.groups[row], found < first
            second = np.where(same, second, np.where(nearer, first, np.minimum(second, found)))
            first = np.minimum(first, found)
            holder = np.where(nearer, case.groups[row], holder)
    return first, second, holder


def logs(distances: NDArray[Any], metric: Metric) -> Values:
    """Logarithms of distances, 0 as `EPSILON`."""
    return np.log(np.maximum(distances.astype(np.float64), EPSILON[metric]))


def _explained(case: Case, side: Images, view: str) -> Values:
    """- log of the residual of each image of a side, see `residual`."""
    metric = case.generated.specs[view].metric
    candidates = floats(case.generated.vectors[view], metric)
    parts = []
    for block in case.blocks():
        queries = floats(side.vectors[view][block], metric)
        parts.append(residual(queries, candidates[_most_alike(queries, candidates)]))
    return -np.log(np.maximum(np.concatenate(parts), EPSILON[Metric.COSINE]))


def _attributed(case: Case, view: str) -> Values:
    """`attribution` of every real image; flipped ones are candidates of their own, and the larger counts."""
    metric = case.generated.specs[view].metric
    seen, made = ~case.real.blank[view], ~case.generated.blank[view]
    sides = [floats(side.vectors[view][seen], metric) for side in (case.real, case.flipped) if side is not None]
    found = attribution(floats(case.generated.vectors[view][made], metric), np.concatenate(sides))
    value = np.full(len(case.real), np.nan)
    value[seen] = found.reshape(len(sides), -1).max(axis=0)
    return value


def attribution(generated: NDArray[np.float32], real: NDArray[np.float32], ridge: float = RIDGE) -> Values:
    """Cubic mean of the weights with which each real image takes part in explaining the generated ones.

    Each generated image is fitted by its 20 nearest real ones, least squares with a ridge; weights below 0 count as 0. Real
    images compete for every generated one, so that an image in the middle of all, which is near to everything, gains nothing by
    it; the cube lets a few large parts count more than many small ones. More real images, also those in question, make it
    sharper. It is the same for every order of images and knows no labels, so p-values stay valid.

    Args:
        generated: (m, d) unit rows.
        real: (n, d) unit rows.
        ridge: as of `residual`.

    Returns:
        (n,) float64, 0 for an image that is among the nearest of none.
    """
    total = np.zeros(len(real))
    for start in range(0, len(generated), _STEP):
        some = generated[start : start + _STEP]
        rows = _most_alike(some, real)
        weights = np.maximum(_weights(some.astype(np.float64), real[rows].astype(np.float64), ridge), 0)
        total += np.bincount(rows.ravel(), (weights**3).ravel(), len(real))
    return np.asarray(np.cbrt(total / max(1, len(generated))))


def residual(queries: NDArray[np.float32], neighbours: NDArray[np.float32], ridge: float = RIDGE) -> Values:
    """Length of what remains of each query when its neighbours are fitted to it by least squares with a ridge.

    A generator that blends what it remembers leaves no single near copy, but images that together explain the remembered one. The
    fit is that of locally linear embedding (Roweis and Saul, Science 2000) without its sum constraint.

    Args:
        queries: (n, d) unit rows.
        neighbours: (n, k, d) unit rows.
        ridge: added to the diagonal of each Gram matrix; at least 0, and above where k > d.

    Returns:
        (n,) float64, between 0 and 1.
    """
    q, near = queries.astype(np.float64), neighbours.astype(np.float64)
    fitted = np.einsum("nk,nkd->nd", _weights(q, near, ridge), near)
    return np.asarray(np.linalg.norm(q - fitted, axis=1))


def _weights(queries: Values, neighbours: Values, ridge: float) -> Values:
    """(n, k) weights of the neighbours (n, k, d) in each query's fit."""
    gram = neighbours @ neighbours.transpose(0, 2, 1)
    products = np.einsum("nkd,nd->nk", neighbours, queries)
    return np.asarray(np.linalg.solve(gram + ridge * np.eye(neighbours.shape[1]), products[..., None])[..., 0])


def _most_alike(queries: NDArray[np.float32], candidates: NDArray[np.float32]) -> Rows:
    """(n, `SPAN`) rows of the candidates with the largest products, of all where there are fewer.

    Of equally large ones (codes have few values) those are taken that come first by their contents: not by their order.
    """
    span, place = min(SPAN, len(candidates)), np.empty(len(candidates))
    place[np.lexsort(candidates.T)] = np.arange(len(candidates))
    keys = _TIE * place - queries @ candidates.T
    return np.asarray(np.argpartition(keys, span - 1, axis=1)[:, :span])


def floats(vectors: NDArray[Any], metric: Metric) -> NDArray[np.float32]:
    """Unit rows: vectors of a cosine view as they are, the bits of a code as -1 and 1 over the root of their number."""
    if metric is Metric.COSINE:
        return np.asarray(vectors, np.float32)
    bits = np.unpackbits(np.asarray(vectors, np.uint8), axis=1).astype(np.float32)
    return (2 * bits - 1) / np.float32(np.sqrt(bits.shape[1]))


def matched_nearest(ordered: Values, size: int, k: int = 1) -> Values:
    """Mean of the k nearest that a draw of `size` candidates without replacement leads to expect.

    A nearest of 10,000 is nearer than one of 500 by number alone. This is the limit of drawing 500 of the 10,000 again and again,
    computed: the j-th nearest of a draw is the i-th nearest of all with the (negative) hypergeometric probability
    C(i - 1, j - 1) C(n - i, m - j) / C(n, m).

    Args:
        ordered: (r, n) candidates' values, nearest first.
        size: m, at least k and at most n.
        k: how many nearest the mean takes.

    Returns:
        (r,) float64.

    Raises:
        ValueError: size out of range.
    """
    n = ordered.shape[1]
    if not k <= size <= n:
        raise ValueError(f"a draw must hold {k} to {n} candidates, got {size}")
    return np.asarray(ordered @ _rank_weights(n, size, k))


def _rank_weights(n: int, m: int, k: int) -> Values:
    """(n,) how much each rank counts, of sum 1."""
    i = np.arange(1, n + 1)[:, None]
    j = np.arange(1, k + 1)[None]
    possible = (i >= j) & (n - i >= m - j)
    with np.errstate(invalid="ignore"):
        chance = np.exp(_log_choose(i - 1, j - 1) + _log_choose(n - i, m - j) - _log_choose(np.array(n), np.array(m)))
    weights = np.where(possible, chance, 0).mean(axis=1)
    weights[weights < _TERMS] = 0
    return np.asarray(weights / weights.sum())


def _log_choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> Values:
    inside = (k >= 0) & (k <= n)
    n, k = np.where(inside, n, 0), np.where(inside, k, 0)
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
