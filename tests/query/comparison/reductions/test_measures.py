"""Contest, occurrences, explanations and attributions, held against whole matrices and least squares."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec, Metric
from query.comparison.reductions.attribution import Attribution
from query.comparison.reductions.contest import Contest
from query.comparison.reductions.driver import Reduction, reduce
from query.comparison.reductions.explained import Explained
from query.comparison.reductions.occurrences import Occurrences
from query.comparison.reductions.ridge import RIDGE, SPAN
from query.comparison.reductions.rivals import Rivals
from query.comparison.reductions.sides import ViewVectors, real_side, shards
from tests.helpers.sides import at_random
from tests.helpers.slow_measures import attributed, contest, explained, named

SIDES = {mirrored: at_random(np.random.default_rng(3), 31, 90, mirrored) for mirrored in (False, True)}
GROUPS = np.random.default_rng(4).integers(0, 9, 31)
OF = Rivals.of(GROUPS, SIDES[False]["sift"].real)
each_view = pytest.mark.parametrize("name", ["phash", "sift"])
each_side = pytest.mark.parametrize("mirrored", [False, True], ids=["plain", "flipped"])


def with_blanks(view: ViewVectors, some: int) -> ViewVectors:
    """Every so many images of both sides are blank and alike."""
    real, generated = view.real.copy(), view.generated.copy()
    real_blank, generated_blank = view.real_blank.copy(), view.generated_blank.copy()
    sides: list[tuple[NDArray[Any], NDArray[np.bool_]]] = [(real, real_blank), (generated, generated_blank)]
    for vectors, blank in sides:
        blank[::some] = True
        vectors[blank] = vectors[0]
    return replace(view, real=real, generated=generated, real_blank=real_blank, generated_blank=generated_blank)


@each_view
@each_side
@settings(max_examples=6, deadline=None)
@given(size=st.integers(1, 90), some=st.integers(2, 90), few=st.integers(1, 30))
def test_measures_are_those_of_whole_matrices(name: str, mirrored: bool, size: int, some: int, few: int) -> None:
    """In shards of any size, with few and many generated images, blank ones among them."""
    view = with_blanks(SIDES[mirrored][name], some)
    view = replace(view, generated=view.generated[:few], generated_blank=view.generated_blank[:few])
    real = real_side({name: view})[name]
    reductions: list[Reduction[Any]] = [
        Contest(name, view.spec.metric, OF),
        Occurrences(name, GROUPS, 6),
        Explained(name, real),
        Attribution(name, real, OF),
    ]
    reduce({name: real}, shards({name: view}, size), reductions)
    expected = [contest(view, OF), named(view, GROUPS, 6), explained(view), attributed(view, OF)]
    for reduction, values in zip(reductions, expected, strict=True):
        np.testing.assert_allclose(reduction.result(), values, atol=2e-5, err_msg=type(reduction).__name__)


def unit_sides(real: NDArray[Any], generated: NDArray[Any]) -> ViewVectors:
    flags = np.zeros(len(real), bool), np.zeros(len(generated), bool)
    return ViewVectors(EmbeddingSpec("sift", real.shape[1], Metric.COSINE), real, None, generated, *flags)


def attribution(view: ViewVectors) -> NDArray[Any]:
    real = real_side({"sift": view})
    reduction = Attribution("sift", real["sift"], Rivals.of(np.arange(len(view.real)), view.real))
    reduce(real, shards({"sift": view}, 7), [reduction])
    return reduction.result()


def by_ridge(query: NDArray[Any], near: NDArray[Any]) -> NDArray[Any]:
    """Weights of the ridge regression, as least squares with rows appended for the ridge."""
    k = len(near)
    rows = np.vstack([near.T, np.sqrt(RIDGE) * np.eye(k)])
    return np.asarray(np.linalg.lstsq(rows, np.append(query, np.zeros(k)), rcond=None)[0])


def test_attribution_is_the_cubic_mean_of_clipped_weights() -> None:
    view = SIDES[False]["sift"]
    cubes = np.zeros(len(view.real))
    for image in view.generated.astype(float):
        rows = np.argsort(-(view.real.astype(float) @ image))[:SPAN]
        cubes[rows] += np.maximum(by_ridge(image, view.real[rows].astype(float)), 0) ** 3
    assert np.allclose(attribution(view), np.cbrt(cubes / len(view.generated)), atol=1e-6)


def test_attribution_takes_all_where_there_are_fewer_than_it_looks_at() -> None:
    real = SIDES[False]["sift"].real[:3]
    value = attribution(unit_sides(real, np.repeat(real[:1], 4, axis=0)))
    assert value.argmax() == 0
    weights = by_ridge(real[0].astype(float), real.astype(float))
    assert np.allclose(value, np.maximum(weights, 0), atol=1e-6)
