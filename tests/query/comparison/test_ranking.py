"""Ranking of a generated image's real ones: the likeliest first, then what others explain besides, distances in that order."""

import numpy as np
import pytest

from query.comparison.pursuit import Pursuit
from query.comparison.ranking import ranked_distances
from query.comparison.tiles import Vectors


def pursuit(shares: list[float]) -> Pursuit:
    """Of an image of one tile; others explain so much of it, each another part."""
    image: Vectors = np.sqrt([[*shares, 1 - sum(shares)]], dtype=np.float32)
    return Pursuit(image, np.eye(len(shares), len(shares) + 1, dtype=np.float32)[None])


def test_nothing_is_added_below_the_floors() -> None:
    combined = np.array([-3, -3, -3], np.float32)
    assert ranked_distances(combined, np.array([0, 10, 10 * np.e]), pursuit([0, 0, 0.01])).tolist() == pytest.approx([-3, -3, -7])


def test_both_terms_are_logarithms_beyond_the_floors() -> None:
    found = ranked_distances(np.array([-3, -2], np.float32), np.array([30, 0]), pursuit([0.1, 0.02]))
    assert found.tolist() == pytest.approx([-3 - 4 * np.log(3) - 8 * np.log(10), -2 - 8 * np.log(2)])


def test_the_first_is_the_likeliest_by_views_and_inliers_though_it_explains_nothing() -> None:
    combined = np.array([-2, -9, -2], np.float32)
    found = ranked_distances(combined, np.zeros(3), pursuit([0.3, 0, 0.5]))
    assert np.argsort(found).tolist() == [1, 2, 0]
    assert found[1] == -9
    assert len(set(found.tolist())) == 3


def test_who_explains_the_same_as_the_first_comes_last() -> None:
    image: Vectors = np.sqrt([[0.6, 0.1, 0.3]], dtype=np.float32)
    first, second = np.eye(2, 3, dtype=np.float32)
    others = np.stack([first, 0.95 * first + np.sqrt(1 - 0.95**2) * np.eye(3, dtype=np.float32)[2] * -1, second])[None]
    found = ranked_distances(np.array([-5, -4, 0], np.float32), np.zeros(3), Pursuit(image, others.astype(np.float32)))
    assert np.argsort(found).tolist() == [0, 2, 1]


def test_more_images_than_places_keep_their_order() -> None:
    combined = np.linspace(-3, 3, 30, dtype=np.float32)
    assert np.argsort(ranked_distances(combined, np.zeros(30), pursuit([0.0] * 30)), kind="stable").tolist() == list(range(30))
    assert len(ranked_distances(combined[:0], np.zeros(0), pursuit([]))) == 0
