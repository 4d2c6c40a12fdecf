"""The threshold: what it lets pass by chance, where duplicates are few or many, and where pairs are too few."""

import numpy as np
import pytest

from query.duplication.chance import LEAST, MOST, chance_of


def unrelated(seed: int, count: int, mean: float = 9.0) -> np.ndarray:
    """Counts whose roots scatter by 0.5, as those of Poisson do (a textbook fact), and a little more."""
    return np.random.default_rng(seed).poisson(mean, count)


@pytest.mark.parametrize("allowed", [1.0, 20.0])
def test_chance_lets_about_as_many_pass_as_allowed(allowed: float) -> None:
    found = [unrelated(seed, 4000, 30.0) for seed in range(30)]
    passed = [int((each >= chance_of(each, False, allowed).threshold).sum()) for each in found]
    assert 0.1 * allowed <= np.mean(passed) <= 2 * allowed


def test_a_few_duplicates_hardly_move_it() -> None:
    clean = unrelated(0, 3000, 20.0)
    mixed = np.concatenate([clean, np.full(90, 250)])
    assert abs(chance_of(mixed, False).threshold - chance_of(clean, False).threshold) <= 10  # of 20 usual points
    assert chance_of(mixed, False).expected <= 1


def test_many_duplicates_cannot_hide_themselves() -> None:
    others = unrelated(0, 500)
    chance = chance_of(np.concatenate([others, np.full(2500, 200)]), False)
    assert chance == chance_of(others, False)
    assert others.max() < chance.threshold + 1 < MOST


def test_where_nothing_else_is_left_the_threshold_is_the_greatest() -> None:
    chance = chance_of(np.full(1000, 200), False)
    assert (chance.threshold, chance.pairs) == (MOST, 0)
    assert np.isnan(chance.expected)


def test_few_points_are_never_a_copy() -> None:
    assert chance_of(np.full(1000, 3), False).threshold == LEAST


def test_too_few_pairs_tell_nothing() -> None:
    chance = chance_of(np.array([5, 6]), True)
    assert chance.threshold == MOST
    assert np.isnan(chance.expected)
    assert "too few" in chance.note
