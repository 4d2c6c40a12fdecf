"""What reductions measure, computed from whole matrices of distances: slow, and what they are held against."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Metric
from indexer.search import brute_force
from query.comparison.reductions.attribution import POWERS
from query.comparison.reductions.averaged import COUNTS
from query.comparison.reductions.contest import LOST, RIVALS
from query.comparison.reductions.logarithms import EPSILON, logs
from query.comparison.reductions.ridge import RIDGE, SPAN, floats, residual, weights
from query.comparison.reductions.rivals import Rivals
from query.comparison.reductions.sides import ViewVectors

TIE = 1e-12
Values = NDArray[np.float64]


def sides_of(view: ViewVectors) -> list[NDArray[Any]]:
    """The real vectors, and those of flipped images where they count."""
    return [side for side in (view.real, view.mirrored) if side is not None]


def distances(view: ViewVectors) -> NDArray[np.float32]:
    """(nr, ng), the smaller of both."""
    both = [brute_force.distances(view.spec.metric, side, view.generated) for side in sides_of(view)]
    return np.asarray(np.min(both, axis=0), np.float32)


def most_alike(queries: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n, `SPAN`) rows of the candidates with the largest products, equal ones by their contents."""
    span, place = min(SPAN, len(candidates)), np.empty(len(candidates))
    place[np.lexsort(candidates.T)] = np.arange(len(candidates))
    keys = TIE * place - queries @ candidates.T
    return np.asarray(np.argpartition(keys, span - 1, axis=1)[:, :span])


def explained(view: ViewVectors) -> Values:
    """See `query.comparison.reductions.explained`."""
    candidates = floats(view.generated, view.spec.metric)
    values = []
    for side in sides_of(view):
        queries = floats(side, view.spec.metric)
        remains = residual(queries, candidates[most_alike(queries, candidates)])
        values.append(-np.log(np.maximum(remains, EPSILON[Metric.COSINE])))
    return np.asarray(np.max(values, axis=0))


def weights_of(view: ViewVectors, rivals: Rivals, generated: Values | None = None) -> Values:
    """(generated, sides x real) see `query.comparison.reductions.weights`: each real image fitted with its rivals.

    Where nothing is given, of the view's generated images; 0 for blank ones of either side.
    """
    seen, sides = ~view.real_blank, sides_of(view)
    real = np.concatenate([floats(side[seen], view.spec.metric) for side in sides]).astype(np.float64)
    groups = np.tile(rivals.group[seen], len(sides))
    given = floats(view.generated, view.spec.metric).astype(np.float64) if generated is None else generated
    place, found = np.empty(len(real)), np.zeros((len(given), len(sides), len(seen)))
    place[np.lexsort(real.astype(np.float32).T)] = np.arange(len(real))
    excluded = [set(each.tolist()) for each in rivals.excluded]
    for number, image in enumerate(given):
        keys, row_weights = TIE * place - real @ image, np.zeros(len(real))
        order, fits = np.argsort(keys).tolist(), dict[int, list[list[int]]]()
        for row in range(len(real)):
            near, taken = list[int](), set(excluded[groups[row]])
            for other in order:
                if groups[other] not in taken and len(near) < SPAN:
                    near.append(other)
                    taken.add(groups[other])
            if len(near) < SPAN or keys[near[-1]] >= keys[row]:
                fits.setdefault(len(near[: SPAN - 1]), []).append([row, *near[: SPAN - 1]])
        for rows in fits.values():
            fit = weights(np.tile(image, (len(rows), 1)), real[np.array(rows)], RIDGE)
            row_weights[np.array(rows)[:, 0]] = np.maximum(fit[:, 0], 0)
        if generated is not None or not view.generated_blank[number]:
            found[number][:, seen] = row_weights.reshape(len(sides), -1)
    return found.reshape(len(given), -1)


def attributed(view: ViewVectors, parts: Values) -> Values:
    """See `query.comparison.reductions.attribution`; `parts` from `weights_of`."""
    count = max(1, int((~view.generated_blank).sum()))
    means = [((parts**power).sum(axis=0) / count) ** (1 / power) for power in POWERS]
    value = np.array(means).reshape(len(POWERS), len(sides_of(view)), -1).max(axis=1)
    return np.where(view.real_blank, np.nan, value)


def averaged(view: ViewVectors, rivals: Rivals, parts: Values) -> Values:
    """See `query.comparison.reductions.averaged`, where one view chooses and explains; `parts` from `weights_of`."""
    vectors = floats(view.generated, view.spec.metric).astype(np.float64)
    slots = np.arange(parts.shape[1])
    total = np.zeros(len(slots))
    for count in COUNTS:
        largest = np.argsort(-parts, axis=0, kind="stable")[:count]
        means = np.array([parts[largest[:, slot], slot] @ vectors[largest[:, slot]] for slot in slots])
        some = means.any(axis=1)
        units = means[some] / np.linalg.norm(means[some], axis=1, keepdims=True)
        total[some] += weights_of(view, rivals, units)[np.arange(some.sum()), slots[some]] / len(COUNTS)
    return np.where(view.real_blank, np.nan, total.reshape(len(sides_of(view)), -1).max(axis=0))


def contest(view: ViewVectors, rivals: Rivals, k: int = RIVALS) -> Values:
    """See `query.comparison.reductions.contest`: one real image after the other."""
    far = logs(distances(view), view.spec.metric)[:, ~view.generated_blank]
    k = min(k, far.shape[1])
    value = np.zeros(len(far))
    for row, mine in enumerate(far):
        others = ~np.isin(rivals.group, rivals.excluded[rivals.group[row]]) & ~view.real_blank
        if others.any() and k and not view.real_blank[row]:
            ahead = np.maximum(far[others].min(axis=0) - mine, LOST)
            value[row] = ahead[np.argsort(mine - TIE * ahead, kind="stable")[:k]].mean()
    return value


def named(view: ViewVectors, groups: NDArray[Any], k: int) -> Values:
    """See `query.comparison.reductions.occurrences`: one generated image and one real image after the other."""
    far = np.where(view.real_blank[:, None], np.inf, distances(view))
    counts = np.zeros(len(far))
    for column in far[:, ~view.generated_blank].T:
        for row in np.flatnonzero(np.isfinite(column)):
            others = [column[groups == group].min() for group in set(groups.tolist()) - {groups[row]}]
            left = k - sum(other < column[row] for other in others)
            counts[row] += np.clip(left / (1 + sum(other == column[row] for other in others)), 0, 1)
    return counts
