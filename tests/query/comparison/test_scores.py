"""Scores held against loops."""

import math

import numpy as np
import pytest
from numpy.typing import ArrayLike

from indexer.types import Neighbours
from query.comparison.scores import Score, density, nearest_counts, real_scores, scores


def neighbours(distances: ArrayLike, rows: ArrayLike | None = None) -> Neighbours:
    near = np.asarray(distances, np.float32)
    numbers = np.arange(near.size).reshape(near.shape) if rows is None else np.asarray(rows)
    return Neighbours(numbers.astype(np.int64), near, np.zeros(near.shape, bool))


def test_scores_of_sixty_neighbours() -> None:
    d = np.sort(np.random.default_rng(0).random((5, 60)).astype(np.float32), axis=1)
    made = scores(neighbours(d), np.zeros(5, bool), ratios=True)
    for i, row in enumerate(d.astype(float)):
        assert made[Score.D1][i] == row[0]
        assert made[Score.MEAN_K][i] == pytest.approx(sum(row[:10]) / 10)
        assert made[Score.D1_D2][i] == row[0] / row[1]
        assert made[Score.D1_D50][i] == row[0] / row[49]
        assert made[Score.MARGIN][i] == row[1] - row[0]


def test_what_is_not_defined_is_nan() -> None:
    made = scores(neighbours([[0, 0, 5], [1, 2, 3]], [[1, 2, 3], [4, -1, -1]]), np.zeros(2, bool), ratios=True)
    assert math.isnan(made[Score.D1_D2][0])  # 0 / 0
    assert math.isnan(made[Score.D1_D2][1])  # no second neighbour
    assert math.isnan(made[Score.MARGIN][1])
    assert made[Score.MEAN_K].tolist() == [pytest.approx(5 / 3), 1.0]
    assert Score.D1_D50 not in made
    assert set(scores(neighbours([[1.0]]), np.zeros(1, bool), ratios=False)) == {Score.D1, Score.MEAN_K, Score.MARGIN}


def test_density_is_d1_over_the_neighbours_own() -> None:
    near = neighbours([[2, 3], [4, 6]], [[0, 1], [1, 2]])
    got = density(near, {0: 1.0, 1: 3.0})
    assert got.tolist() == [1.0, pytest.approx(4 / 3)]
    assert math.isnan(density(near, {})[0])


def test_nearest_counts_leave_blank_queries_out() -> None:
    near = neighbours([[1], [1], [1], [1]], [[2], [2], [0], [-1]])
    assert nearest_counts(near, 3, np.array([False, True, False, False])).tolist() == [1, 0, 1]


def test_blank_images_have_no_scores() -> None:
    near, blank = neighbours([[1, 2], [2, 3]], [[0, 1], [0, 1]]), (np.array([True, False]), np.zeros(2, bool))
    made = real_scores(near, near, blank, {0: 1.0, 1: 3.0})
    assert all(math.isnan(values[0]) for values in made.values())
    assert (made[Score.D1][1], made[Score.NEAREST_COUNT][1], made[Score.DENSITY][1]) == (2.0, 0.0, 1.0)
    assert Score.DENSITY not in real_scores(near, near, blank, None)
