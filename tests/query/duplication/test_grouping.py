"""Groups by centre: chains break, cliques do not, and nobody is in two groups."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from query.duplication.grouping import Star, stars

THRESHOLD = 80


class Line:
    """Images as places on a line: two agree on 100 points, less ten for each step between them."""

    def __init__(self, places: Sequence[float]) -> None:
        self.places = places
        self.asked = 0

    def inliers(self, row: int, others: Sequence[int]) -> NDArray[np.int64]:
        self.asked += len(others)
        return np.array([max(0, round(100 - 10 * abs(self.places[row] - self.places[other]))) for other in others], np.int64)

    def edges(self) -> list[tuple[int, int, int]]:
        """Of neighbours on the line alone: what a search among few neighbours finds."""
        order = np.argsort(self.places, kind="stable").tolist()
        pairs = [(first, second, int(self.inliers(first, [second])[0])) for first, second in pairwise(order)]
        return [pair for pair in pairs if pair[2] >= THRESHOLD]

    def stars(self) -> list[Star]:
        return stars(self.edges(), self.inliers, THRESHOLD)


def test_a_chain_does_not_become_one_group() -> None:
    line = Line(np.random.default_rng(0).permutation(40).tolist())
    found = line.stars()
    assert len(found) >= 40 // 5  # a group reaches two steps to either side of its centre
    for star in found:
        assert all(abs(line.places[star.centre] - line.places[row]) <= 2 for row in star.members)
        assert list(star.members.values()) == line.inliers(star.centre, list(star.members)).tolist()


def test_members_are_found_beyond_the_first_neighbours() -> None:
    (star,) = Line([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).stars()
    assert len(star.members) == 5  # although the search linked each with two at most


@pytest.mark.parametrize("seed", range(5))
def test_nobody_is_in_two_groups_nor_left_beside_a_centre_it_was_linked_with(seed: int) -> None:
    line = Line(np.random.default_rng(seed).uniform(0, 60, 50).tolist())
    edges, found = line.edges(), line.stars()
    rows = [row for star in found for row in (star.centre, *star.members)]
    assert len(rows) == len(set(rows))
    centre = {row: star.centre for star in found for row in (star.centre, *star.members)}
    for first, second, _ in edges:
        assert first in centre or second in centre
        if first in centre and centre[first] == first:
            assert second in centre


def test_far_images_are_not_compared() -> None:
    line = Line([0, 1, *range(100, 1100, 10)])
    assert len(line.stars()) == 1
    line.asked = 0
    stars([(0, 1, 90)], line.inliers, THRESHOLD)
    assert line.asked == 0
