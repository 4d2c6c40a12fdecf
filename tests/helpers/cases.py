"""Cases of random vectors, in which copies may be planted, for tests of membership. No picture is drawn, no file read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec, GreyImage, Metric
from query.comparison.reductions.sides import ViewVectors
from query.inputs.images import Images
from query.membership.case import NOT_USED, UNKNOWN, USED, Case, Rows

BITS, DIM = 256, 24
VIEWS = {"phash": Metric.HAMMING, "pixels": Metric.COSINE, "resnet": Metric.COSINE, "sift": Metric.COSINE}


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def at_random(rng: np.random.Generator, count: int, view: str) -> NDArray[Any]:
    if VIEWS[view] is Metric.HAMMING:
        return rng.integers(0, 256, (count, BITS // 8), dtype=np.uint8)
    return unit(rng.normal(size=(count, DIM)))


def copies(rng: np.random.Generator, vectors: NDArray[Any], view: str, noise: float) -> NDArray[Any]:
    """Each vector with noise: of that share of the length, or half that share of the bits turned over."""
    if VIEWS[view] is Metric.HAMMING:
        turned = rng.random((len(vectors), BITS)) < noise / 2
        return vectors ^ np.packbits(turned, axis=1)
    return unit(vectors + noise * unit(rng.normal(size=vectors.shape)))


def images_of(vectors: Mapping[str, NDArray[Any]], prefix: str = "real", blank: Mapping[str, Any] | None = None) -> Images:
    """Images whose pixels are the bytes of their vectors: other vectors, other pixels."""
    count = len(next(iter(vectors.values())))
    first = np.ascontiguousarray(vectors[min(vectors)])

    def read(row: int) -> GreyImage:
        return np.frombuffer(first[row].tobytes(), np.uint8)[None]

    return Images(
        names=[f"{prefix}_{row:03d}.png" for row in range(count)],
        specs={view: EmbeddingSpec(view, BITS if view == "phash" else DIM, VIEWS[view], {}) for view in vectors},
        vectors=dict(vectors),
        blank={view: np.asarray((blank or {}).get(view, np.zeros(count)), bool) for view in vectors},
        read=read,
    )


def planted(
    seed: int = 0,
    *,
    used: int = 30,
    unused: int = 30,
    each: int = 10,
    others: int = 40,
    noise: float = 0.5,
    groups: int = 2,
    views: Sequence[str] = tuple(VIEWS),
) -> tuple[Case, NDArray[np.bool_]]:
    """A case whose generated images hold noisy copies of the used ones, and which those are; nothing is known of any.

    Used and unused images take turns as long as there are both, and so many neighbours of one kind are a group.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(np.concatenate([np.arange(used) * 2, np.arange(unused) * 2 + 1]), kind="stable")
    truth = order < used
    real = {view: at_random(rng, used + unused, view) for view in views}
    made = {
        view: np.concatenate([copies(rng, np.repeat(real[view][truth], each, axis=0), view, noise), at_random(rng, others, view)])
        for view in views
    }
    group = np.where(truth, np.cumsum(truth) // groups, 1000 + np.cumsum(~truth) // groups)
    unknown = np.full(len(truth), UNKNOWN, np.int8)
    return Case(images_of(real), images_of(made, "generated"), unknown, group, seed=seed), truth


def told(case: Case, truth: NDArray[np.bool_], rows: Rows | slice = slice(None)) -> Case:
    """The case in which the truth of these rows is known."""
    used = case.used.copy()
    used[rows] = np.where(truth, USED, NOT_USED)[rows]
    return replace(case, used=used)


def shuffled(case: Case, seed: int) -> tuple[Case, Rows]:
    """The same case with real and generated images in another order, and the old row of each real one."""
    rng = np.random.default_rng(seed)
    rows, made = rng.permutation(len(case.real)), rng.permutation(len(case.generated))
    flipped = case.flipped.take(rows) if case.flipped else None
    return Case(
        case.real.take(rows), case.generated.take(made), case.used[rows], case.groups[rows], flipped, seed=case.seed
    ), rows


def views_of_case(case: Case) -> dict[str, ViewVectors]:
    """Both sides of a case, as they are compared."""
    return {
        view: ViewVectors(
            spec,
            case.real.vectors[view],
            None if case.flipped is None else case.flipped.vectors[view],
            case.generated.vectors[view],
            case.real.blank[view],
            case.generated.blank[view],
        )
        for view, spec in case.generated.specs.items()
    }
