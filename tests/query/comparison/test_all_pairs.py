"""The combined view held against a plain reading of its formula."""

import numpy as np
import pytest

from embeddings.types import EmbeddingSpec, Metric
from indexer.manifest import CollectionError
from indexer.search import brute_force
from query.comparison import all_pairs
from query.comparison.all_pairs import (
    COMBINED,
    Seen,
    combine,
    combined_of_query,
    mirrored_pairs,
    refuse_empty,
    spread,
    tiles,
    weights_of,
)


def make_seen(rng, reals=37, generateds=53, mirrored=False):
    """A hamming and a cosine view over the same images."""

    def codes(n):
        return rng.integers(0, 256, (n, 32), dtype=np.uint8)

    def units(n):
        vectors = rng.normal(size=(n, 16)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def seen(spec, make):
        flipped = make(reals) if mirrored else None
        return Seen(spec, make(reals), flipped, make(generateds), np.zeros(reals, bool), np.zeros(generateds, bool))

    return {
        "phash": seen(EmbeddingSpec("phash", 256, Metric.HAMMING), codes),
        "sift": seen(EmbeddingSpec("sift", 16, Metric.COSINE), units),
    }


def plain_distance(metric, a, b):
    if metric is Metric.HAMMING:
        return float(sum(bin(x ^ y).count("1") for x, y in zip(a.tolist(), b.tolist(), strict=True)))
    return float(1 - np.dot(a.astype(np.float64), b.astype(np.float64)))


def plain_matrix(seen):
    """(nr, ng) distances pair by pair."""
    sides = [seen.real] if seen.mirrored is None else [seen.real, seen.mirrored]
    return np.array(
        [
            [min(plain_distance(seen.spec.metric, side[r], g) for side in sides) for g in seen.generated]
            for r in range(len(seen.real))
        ]
    )


def plain_combination(views):
    total, weights = 0, weights_of(views)
    for name, seen in views.items():
        d = plain_matrix(seen)
        by_real = (d - d.mean(1, keepdims=True)) / d.std(1, keepdims=True)
        by_generated = (d - d.mean(0)) / d.std(0)
        score = (by_real + by_generated) / 2
        total = total + weights[name] * np.sign(score) * score**2
    mean = total / sum(weights.values())
    return np.where(mean < 0, -1, 1) * np.abs(mean) ** 0.5


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Many tiles, none of them full at the edges."""
    monkeypatch.setattr(all_pairs, "_TILE", (10, 16))


def test_tiles_cover_every_pair_once():
    covered = np.zeros((37, 53), int)
    for r, g in tiles(37, 53):
        covered[r, g] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("mirrored", [False, True])
def test_combination_is_the_formula(mirrored):
    views = make_seen(np.random.default_rng(1), mirrored=mirrored)
    expected = plain_combination(views)
    kept = {name: np.full(expected.shape, np.nan) for name in (*views, COMBINED)}

    def keep(view, r, g, d):
        kept[view][r, g] = d

    made = combine(views, 7, keep)
    np.testing.assert_allclose(kept[COMBINED], expected, atol=1e-4)
    for name, seen in views.items():
        np.testing.assert_allclose(kept[name], plain_matrix(seen), atol=1e-5)
    for found, matrix in ((made.real, expected), (made.generated, expected.T)):
        np.testing.assert_allclose(found.distances, np.sort(matrix, axis=1)[:, :7], atol=1e-4)
        np.testing.assert_allclose(np.take_along_axis(matrix, found.rows, 1), found.distances, atol=1e-4)


def test_more_neighbours_than_images_are_padded():
    made = combine(make_seen(np.random.default_rng(2), reals=3, generateds=4), 6)
    assert (made.real.rows[:, :4] >= 0).all()
    assert (made.real.rows[:, 4:] == -1).all()
    assert (made.generated.rows[:, 3:] == -1).all()


def test_histograms_count_every_pair_exactly():
    views = make_seen(np.random.default_rng(3))
    made = combine(views, 2)
    for name, histogram in made.histograms.items():
        assert histogram.counts.sum() == 37 * 53, name
    hamming = brute_force.distances(Metric.HAMMING, views["phash"].real, views["phash"].generated)
    np.testing.assert_array_equal(made.histograms["phash"].counts[:257], np.bincount(hamming.ravel(), minlength=257))


def test_spread_is_mean_and_deviation():
    seen = make_seen(np.random.default_rng(4))["sift"]
    d = plain_matrix(seen)
    got = spread(seen)
    np.testing.assert_allclose(got.real_mean, d.mean(1), atol=1e-6)
    np.testing.assert_allclose(got.real_std, d.std(1), atol=1e-6)
    np.testing.assert_allclose(got.generated_mean, d.mean(0), atol=1e-6)
    np.testing.assert_allclose(got.generated_std, d.std(0), atol=1e-6)


def test_blank_images_and_constant_views_are_no_evidence():
    views = make_seen(np.random.default_rng(5))
    views["phash"].real_blank[3] = True
    views["sift"].real_blank[3] = True
    views["phash"].real[5] = views["phash"].real[6]
    matrix = np.zeros((37, 53))

    def keep(view, r, g, d):
        if view == COMBINED:
            matrix[r, g] = d

    combine(views, 2, keep)
    assert (matrix[3] == 0).all()
    assert np.isfinite(matrix).all()
    flags = np.zeros(1, bool)
    one = {name: Seen(s.spec, s.real[:1], None, s.generated[:1], flags, flags) for name, s in views.items()}
    assert combine(one, 1).real.distances.tolist() == [[0.0]]  # nothing varies


def test_order_of_images_changes_nothing():
    views = make_seen(np.random.default_rng(6))
    order = np.random.default_rng(7).permutation(53)
    shuffled = {n: Seen(s.spec, s.real, None, s.generated[order], s.real_blank, s.generated_blank) for n, s in views.items()}
    a, b = combine(views, 5), combine(shuffled, 5)
    np.testing.assert_array_equal(order[b.real.rows], a.real.rows)
    np.testing.assert_allclose(b.generated.distances, a.generated.distances[order], atol=1e-5)


def test_mirrored_pairs_are_named():
    views = make_seen(np.random.default_rng(8), mirrored=True)
    for seen in views.values():
        seen.generated[0] = seen.mirrored[0]  # a copy of the flipped image
        seen.generated[1] = seen.real[1]  # a copy of the image itself
    made = combine(views, 1)
    by_real = mirrored_pairs(views, made.real, True)
    by_generated = mirrored_pairs(views, made.generated, False)
    assert made.real.rows[:2, 0].tolist() == [0, 1]
    assert by_real.mirrored[:2, 0].tolist() == [True, False]
    assert by_generated.mirrored[:2, 0].tolist() == [True, False]


def test_single_queries_are_standardised_over_their_candidates():
    rng = np.random.default_rng(9)
    a, b = rng.random((2, 30)).astype(np.float32), rng.random((2, 30)).astype(np.float32)
    scores = [(d - d.mean(1, keepdims=True)) / d.std(1, keepdims=True) for d in (a.astype(float), b.astype(float))]
    squares = [np.where(score < 0, -1, 1) * score**2 for score in scores]
    weights = weights_of(("phash", "sift"))
    mean = (weights["phash"] * squares[0] + weights["sift"] * squares[1]) / sum(weights.values())
    expected = np.where(mean < 0, -1, 1) * np.abs(mean) ** 0.5
    np.testing.assert_allclose(combined_of_query([("phash", a), ("sift", b)]), expected, atol=1e-6)


def test_an_empty_side_is_refused():
    with pytest.raises(CollectionError, match="no real image"):
        refuse_empty(0, 5)
    with pytest.raises(CollectionError, match="no generated image"):
        refuse_empty(5, 0)
