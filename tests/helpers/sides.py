"""Two sides of a comparison at random, their distances by definition, and the combined view by its formula."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec, Metric
from query.comparison.combined import weights_of
from query.comparison.reductions.sides import ViewVectors

BITS, DIMENSIONS = 256, 16


def codes(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Codes that differ in few bits, so that many distances are equal."""
    return np.packbits(rng.random((count, BITS)) < 0.05, axis=1)


def units(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Unit vectors."""
    vectors = rng.normal(size=(count, DIMENSIONS)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def at_random(rng: np.random.Generator, reals: int = 37, generateds: int = 53, mirrored: bool = False) -> dict[str, ViewVectors]:
    """A hamming and a cosine view over the same images."""

    def view(spec: EmbeddingSpec, make: Any) -> ViewVectors:
        flipped = make(rng, reals) if mirrored else None
        blank = np.zeros(reals, bool), np.zeros(generateds, bool)
        return ViewVectors(spec, make(rng, reals), flipped, make(rng, generateds), *blank)

    return {
        "phash": view(EmbeddingSpec("phash", BITS, Metric.HAMMING), codes),
        "sift": view(EmbeddingSpec("sift", DIMENSIONS, Metric.COSINE), units),
    }


def plain_distance(metric: Metric, a: NDArray[Any], b: NDArray[Any]) -> float:
    """Of one pair."""
    if metric is Metric.HAMMING:
        return float(sum(bin(x ^ y).count("1") for x, y in zip(a.tolist(), b.tolist(), strict=True)))
    return float(1 - np.dot(a.astype(np.float64), b.astype(np.float64)))


def plain_matrix(view: ViewVectors, side: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """(nr, ng) distances pair by pair, to one side of the real images or the nearer of both."""
    sides = [side] if side is not None else [each for each in (view.real, view.mirrored) if each is not None]
    return np.array(
        [
            [min(plain_distance(view.spec.metric, each[row], generated) for each in sides) for generated in view.generated]
            for row in range(len(view.real))
        ]
    )


def plain_combination(views: Mapping[str, ViewVectors]) -> NDArray[np.float64]:
    """(nr, ng) combined distances."""
    total, weights = np.zeros(1), weights_of(views)
    for name, view in views.items():
        d = plain_matrix(view)
        (mean_real, std_real), (mean_generated, std_generated) = plain_scale(d)
        score = ((d - mean_real[:, None]) / std_real[:, None] + (d - mean_generated) / std_generated) / 2
        total = total + weights[name] * np.sign(score) * score**2
    mean = total / sum(weights.values())
    return np.where(mean < 0, -1, 1) * np.abs(mean) ** 0.5


Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


def plain_bulk(d: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of (nr, ng) distances do not stand out, column by column."""
    within = np.zeros(d.shape, bool)
    for g, column in enumerate(d.T):
        middle, upper = np.quantile(column, 0.5, method="lower"), np.quantile(column, 0.75, method="higher")
        sd = (upper - middle) / 0.6745 or 1.2533 * np.mean(np.abs(column - middle))
        within[:, g] = column >= middle - 2.5 * sd
    return within


def plain_scale(d: NDArray[np.float64]) -> tuple[Pair, Pair]:
    """Mean and deviation of each real image's bulk, with 5 pairs of all, and of each generated image's."""
    within = plain_bulk(d)
    pool = d[within]
    means, stds = [], []
    for row, counted in zip(d, within, strict=True):
        weight = np.concatenate([np.ones(counted.sum()), np.full(len(pool), 5 / len(pool))])
        values = np.concatenate([row[counted], pool])
        mean = np.average(values, weights=weight)
        means.append(mean)
        stds.append(max(np.sqrt(np.average((values - mean) ** 2, weights=weight)), 0.75 * pool.std()))
    columns = [column[counted] for column, counted in zip(d.T, within.T, strict=True)]
    return (np.array(means), np.array(stds)), (np.array([c.mean() for c in columns]), np.array([c.std() for c in columns]))
