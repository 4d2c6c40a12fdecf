"""The bulk of distances, and what it leaves out."""

import numpy as np
import pytest
from numpy.typing import NDArray

from query.comparison.bulk import bulk_from, bulk_moments
from tests.helpers.sides import plain_bulk


def bulk(distances: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Of the columns."""
    return np.asarray(distances >= bulk_from(distances.T))


@pytest.mark.parametrize("reals", [1, 2, 3, 4, 5, 60])
def test_it_is_what_is_not_far_below_the_median(reals: int) -> None:
    rng = np.random.default_rng(reals)
    distances = rng.integers(0, 30, (reals, 50)).astype(np.float32)
    distances[:, ::3] = 12
    distances[0, ::2] = 0
    within = bulk(distances)
    np.testing.assert_array_equal(within, plain_bulk(distances.astype(np.float64)))
    moments = bulk_moments(distances.T)
    for column, counted, mean, std in zip(distances.T, within.T, moments.mean, moments.std, strict=True):
        assert mean == pytest.approx(column[counted].mean())
        assert std == pytest.approx(column[counted].std())


@pytest.mark.parametrize("copies", [1, 9, 25])
def test_a_source_and_its_duplicates_are_not_in_it(copies: int) -> None:
    distances = np.random.default_rng(0).normal(100, 5, (60, 40)).astype(np.float32)
    distances[:copies] = 0
    assert not bulk(distances)[:copies].any()
    assert bulk(distances)[copies:].mean() > 0.98


def test_one_source_stands_out_where_all_others_are_equally_far() -> None:
    distances = np.full((60, 3), 40, np.float32)
    distances[7] = 0
    assert np.flatnonzero(~bulk(distances).all(axis=1)).tolist() == [7]


def test_equal_distances_are_all_in_it() -> None:
    assert bulk(np.full((60, 3), 40, np.float32)).all()
