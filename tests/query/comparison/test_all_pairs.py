"""All pairs in two passes, held against a plain reading of the formulas."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from embeddings.types import Metric
from indexer.manifest import CollectionError
from indexer.search import brute_force
from query.comparison.all_pairs import AllPairs, Wanted, all_pairs_of, combined_of_pairs
from query.comparison.combined import COMBINED, combined, standardised_query, weights_of
from query.comparison.reductions import tile
from query.comparison.reductions.sides import ViewVectors
from query.inputs.sides import refuse_empty
from tests.helpers.sides import at_random, plain_bulk, plain_combination, plain_matrix, plain_scale


def everything(views: Mapping[str, ViewVectors], k: int) -> AllPairs:
    return all_pairs_of(views, Wanted(k, neighbours=list(views), distances=True))


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tiles, the last of them not full."""
    monkeypatch.setattr(tile, "_NARROWEST", 16)
    monkeypatch.setattr(tile, "_WIDEST", 16)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_combination_is_the_formula(mirrored: bool) -> None:
    views = at_random(np.random.default_rng(1), mirrored=mirrored)
    matrices = {name: plain_matrix(view) for name, view in views.items()} | {COMBINED: plain_combination(views)}
    pairs = everything(views, 7)
    for name, matrix in matrices.items():
        np.testing.assert_allclose(pairs.distances[name], matrix, atol=1e-4 if name == COMBINED else 1e-6)
        for nearest, expected in ((pairs.real[name], matrix), (pairs.generated[name], matrix.T)):
            np.testing.assert_allclose(nearest.distances, np.sort(expected, axis=1)[:, :7], atol=1e-4)
            np.testing.assert_allclose(np.take_along_axis(expected, nearest.rows, 1), nearest.distances, atol=1e-4)


def test_more_neighbours_than_images_are_padded() -> None:
    pairs = everything(at_random(np.random.default_rng(2), reals=3, generateds=4), 6)
    for view in pairs.real:
        assert (pairs.real[view].rows[:, :4] >= 0).all()
        assert (pairs.real[view].rows[:, 4:] == -1).all()
        assert (pairs.generated[view].rows[:, 3:] == -1).all()
        padding = pairs.real[view].distances
        assert (padding[:, 4:] == np.finfo(np.float32).max if view != "phash" else padding[:, 4:] == 2**31 - 1).all()
    assert pairs.real["phash"].distances.dtype == np.int32


def test_histograms_count_every_pair_exactly() -> None:
    views = at_random(np.random.default_rng(3))
    pairs = everything(views, 2)
    for name, histogram in pairs.histograms.items():
        assert histogram.counts.sum() == 37 * 53, name
    hamming = brute_force.distances(Metric.HAMMING, views["phash"].real, views["phash"].generated)
    np.testing.assert_array_equal(pairs.histograms["phash"].counts[:257], np.bincount(hamming.ravel(), minlength=257))


@pytest.mark.parametrize("mirrored", [False, True])
def test_moments_are_those_of_the_bulk(mirrored: bool) -> None:
    views = at_random(np.random.default_rng(4), mirrored=mirrored)
    pairs = everything(views, 2)
    for name, view in views.items():
        scale = pairs.scales[name]
        for side, (mean, std) in zip((scale.real, scale.generated), plain_scale(plain_matrix(view)), strict=True):
            np.testing.assert_allclose(side.mean, mean, rtol=1e-5)
            np.testing.assert_allclose(side.std, std, rtol=1e-5)


def test_blank_images_and_constant_views_are_no_evidence() -> None:
    views = at_random(np.random.default_rng(5))
    views["phash"].real_blank[3] = True
    views["sift"].real_blank[3] = True
    views["phash"].real[5] = views["phash"].real[6]
    matrix = everything(views, 2).distances[COMBINED]
    assert (matrix[3] == 0).all()
    assert np.isfinite(matrix).all()
    flags = np.zeros(1, bool)
    one = {name: ViewVectors(s.spec, s.real[:1], None, s.generated[:1], flags, flags) for name, s in views.items()}
    assert everything(one, 1).real[COMBINED].distances.tolist() == [[0.0]]  # nothing varies


def test_order_of_images_changes_nothing() -> None:
    views = at_random(np.random.default_rng(6))
    order = np.random.default_rng(7).permutation(53)
    shuffled = {name: replace(view, generated=view.generated[order]) for name, view in views.items()}
    a, b = (everything(each, 5) for each in (views, shuffled))
    np.testing.assert_array_equal(order[b.real[COMBINED].rows], a.real[COMBINED].rows)
    np.testing.assert_array_equal(b.generated[COMBINED].distances, a.generated[COMBINED].distances[order])


def test_flipped_copies_are_named() -> None:
    views = at_random(np.random.default_rng(8), mirrored=True)
    for view in views.values():
        assert view.mirrored is not None
        view.generated[0] = view.mirrored[0]  # a copy of the flipped image
        view.generated[1] = view.real[1]  # a copy of the image itself
    pairs = everything(views, 1)
    for name in (*views, COMBINED):
        assert pairs.real[name].rows[:2, 0].tolist() == [0, 1]
        assert pairs.real[name].mirrored[:2, 0].tolist() == [True, False]
        assert pairs.generated[name].mirrored[:2, 0].tolist() == [True, False]


@pytest.mark.parametrize("mirrored", [False, True])
def test_single_pairs_have_the_combined_distance_of_all_pairs(mirrored: bool) -> None:
    views = at_random(np.random.default_rng(10), mirrored=mirrored)
    views["sift"].real_blank[3] = views["phash"].generated_blank[4] = True
    pairs = everything(views, 1)
    real, generated = np.indices((37, 53)).reshape(2, -1)
    single = combined_of_pairs(views, pairs.scales, real, generated)
    np.testing.assert_allclose(single, pairs.distances[COMBINED].ravel(), atol=1e-5)


def test_single_queries_are_standardised_over_their_candidates() -> None:
    rng = np.random.default_rng(9)
    a, b = 0.5 + rng.random((2, 30)).astype(np.float32), 0.5 + rng.random((2, 30)).astype(np.float32)
    a[0, :9] = 0.01  # images of the collection that are alike
    scores = []
    for d in (a.astype(float), b.astype(float)):
        bulk = [row[within] for row, within in zip(d, plain_bulk(d.T).T, strict=True)]
        scores.append(np.array([(row - of.mean()) / of.std() for row, of in zip(d, bulk, strict=True)]))
    squares = [np.where(score < 0, -1, 1) * score**2 for score in scores]
    weights = weights_of(("phash", "sift"))
    mean = (weights["phash"] * squares[0] + weights["sift"] * squares[1]) / sum(weights.values())
    expected = np.where(mean < 0, -1, 1) * np.abs(mean) ** 0.5
    seen = np.zeros((2, 30), bool)
    found = combined({"phash": standardised_query(a, seen), "sift": standardised_query(b, seen)})
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(CollectionError, match="no real image"):
        refuse_empty(0, 5)
    with pytest.raises(CollectionError, match="no generated image"):
        refuse_empty(5, 0)
