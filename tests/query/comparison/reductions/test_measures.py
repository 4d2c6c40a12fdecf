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
from query.comparison.reductions.weights import Weights
from tests.helpers.sides import at_random
from tests.helpers.slow_measures import attributed, contest, explained, named, weights_of

SIDES = {mirrored: at_random(np.random.default_rng(3), 31, 90, mirrored) for mirrored in (False, True)}
# Few patients, of up to six images; and more than the 20 that an image meets, some of them of two or three.
LAWS = [np.random.default_rng(4).integers(0, 9, 31), np.append(np.arange(26), [0, 1, 2, 3, 3])]
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
@pytest.mark.parametrize("groups", LAWS, ids=["few patients", "many patients"])
@settings(max_examples=12, deadline=None)
@given(size=st.integers(1, 90), some=st.integers(7, 90), few=st.integers(1, 20))
def test_measures_are_those_of_whole_matrices(
    name: str, mirrored: bool, groups: NDArray[np.int64], size: int, some: int, few: int
) -> None:
    """In shards of any size, with few and many generated images, blank ones among them."""
    rivals = Rivals.of(groups, SIDES[False]["sift"].real)
    view = with_blanks(SIDES[mirrored][name], some)
    view = replace(view, generated=view.generated[:few], generated_blank=view.generated_blank[:few])
    real = real_side({name: view})[name]
    reductions: list[Reduction[Any]] = [
        Contest(name, view.spec.metric, rivals),
        Occurrences(name, groups, 6),
        Explained(name, real),
        Attribution(Weights(name, real, rivals)),
    ]
    reduce({name: real}, shards({name: view}, size), reductions)
    parts = weights_of(view, rivals)
    expected = [contest(view, rivals), named(view, groups, 6), explained(view), attributed(view, parts)]
    for reduction, values in zip(reductions, expected, strict=True):
        np.testing.assert_allclose(reduction.result(), values, atol=2e-5, err_msg=type(reduction).__name__)


def unit_sides(real: NDArray[Any], generated: NDArray[Any]) -> ViewVectors:
    flags = np.zeros(len(real), bool), np.zeros(len(generated), bool)
    return ViewVectors(EmbeddingSpec("sift", real.shape[1], Metric.COSINE), real, None, generated, *flags)


def attribution(view: ViewVectors, groups: NDArray[np.int64] | None = None) -> NDArray[Any]:
    real = real_side({"sift": view})
    rivals = Rivals.of(np.arange(len(view.real)) if groups is None else groups, view.real)
    reduction = Attribution(Weights("sift", real["sift"], rivals))
    reduce(real, shards({"sift": view}, 7), [reduction])
    return np.asarray(reduction.result()[0])


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


def with_images(view: ViewVectors, real: NDArray[Any]) -> ViewVectors:
    return unit_sides(real, view.generated)


def test_a_patients_own_images_take_nothing_from_it() -> None:
    """Of five patients of six images each: without five of its six, an image of a patient has the weight that it had."""
    view, groups = SIDES[False]["sift"], np.repeat(np.arange(5), 6)
    real = view.real[:30]
    value = attribution(with_images(view, real), groups)
    for row in (0, 8, 29):
        kept = (groups != groups[row]) | (np.arange(30) == row)
        rivals = Rivals(np.unique(groups[kept], return_inverse=True)[1], np.arange(5)[:, None])
        side = real_side({"sift": with_images(view, real[kept])})
        alone = Attribution(Weights("sift", side["sift"], rivals))
        reduce(side, shards({"sift": with_images(view, real[kept])}, 90), [alone])
        assert alone.result()[0][np.flatnonzero(kept) == row] == pytest.approx(value[row], abs=1e-6)


def test_each_patient_sends_its_nearest_image_alone() -> None:
    """Images of other patients that are not the nearest of theirs change nothing, however many."""
    generated = SIDES[False]["sift"].generated[:1]
    real, groups = SIDES[False]["sift"].real[:30], np.repeat(np.arange(5), 6)
    value = attribution(unit_sides(real, generated), groups)
    nearest = [rows[np.argmax(real[rows] @ generated[0])] for rows in np.arange(30).reshape(5, 6)]
    for row in range(30):
        rivals = [other for other in nearest if groups[other] != groups[row]]
        expected = by_ridge(generated[0].astype(float), real[[row, *rivals]].astype(float))[0]
        assert value[row] == pytest.approx(max(expected, 0), abs=1e-6)


@pytest.mark.parametrize("times", [2, 5])
def test_copies_of_images_within_their_patient_change_no_attribution(times: int) -> None:
    """Of its own images or of others, where all patients stay of one size."""
    view, groups = SIDES[False]["sift"], np.arange(27)
    real = view.real[:27]
    before = attribution(with_images(view, real), groups)
    after = attribution(with_images(view, np.repeat(real, times, axis=0)), np.repeat(groups, times))
    np.testing.assert_allclose(after, np.repeat(before, times), atol=1e-6)


def test_copies_of_one_patients_images_change_little() -> None:
    """The patient is then of another size, so others meet one rival less: their order stays."""
    view, groups = SIDES[False]["sift"], np.repeat(np.arange(15), 2)
    real, times = view.real[:30], np.where(groups == 4, 6, 1)
    before = attribution(with_images(view, real), groups)
    after = attribution(with_images(view, np.repeat(real, times, axis=0)), np.repeat(groups, times))
    kept = np.repeat(np.arange(30), times)
    assert np.corrcoef(before[kept], after)[0, 1] > 0.97
    assert np.abs(after - before[kept]).max() < 0.05
