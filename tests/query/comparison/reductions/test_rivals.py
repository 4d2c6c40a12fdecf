"""Rivals: as many of each size for every image, whatever its patient's own."""

import numpy as np
from numpy.typing import NDArray

from query.comparison.reductions.rivals import Rivals

SIZES = [1] * 12 + [2] * 9 + [8] * 8
GROUPS = np.repeat(np.arange(len(SIZES)), SIZES)
CONTENTS = np.random.default_rng(0).normal(size=(len(GROUPS), 3))


def remaining(rivals: Rivals, group: int) -> list[int]:
    """Sizes of the groups that send a rival against the images of a group, ascending."""
    sizes = np.bincount(rivals.group)
    return sorted(sizes[np.setdiff1d(np.arange(len(sizes)), rivals.excluded[group])].tolist())


def test_every_image_meets_as_many_rivals_of_each_size() -> None:
    rivals = Rivals.of(GROUPS, CONTENTS)
    assert all(group in rivals.excluded[group] for group in range(len(SIZES)))
    assert {tuple(remaining(rivals, group)) for group in range(len(SIZES))} == {(1,) * 11 + (2,) * 8 + (8,) * 7}


def test_a_size_of_few_groups_joins_the_next_smaller_one() -> None:
    sizes = [1] * 12 + [7] * 2 + [8] * 7 + [30]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    rivals = Rivals.of(groups, np.random.default_rng(0).normal(size=(len(groups), 3)))
    assert {tuple(np.array(remaining(rivals, group)) > 1) for group in range(22)} == {(False,) * 11 + (True,) * 9}
    assert sum(21 in rivals.excluded[group] for group in range(21)) <= 2, "the only group of its size competes with nearly all"


def test_a_smallest_size_of_few_groups_joins_the_next_larger_one() -> None:
    groups = np.repeat(np.arange(10), [1, 1] + [4] * 8)
    assert np.array_equal(Rivals.of(groups, np.arange(len(groups))[:, None]).excluded, np.arange(10)[:, None])


def test_of_one_size_only_the_own_group_is_excluded() -> None:
    groups = np.repeat(np.arange(5), 2)
    assert np.array_equal(Rivals.of(groups, CONTENTS[:10]).excluded, np.arange(5)[:, None])


def names_of(excluded: NDArray[np.int64], names: NDArray[np.int64]) -> list[set[int]]:
    return [{int(names[one]) for one in row if one >= 0} for row in excluded]


def test_names_and_order_change_nothing() -> None:
    before = names_of(Rivals.of(GROUPS, CONTENTS).excluded, np.arange(len(SIZES)))
    rng = np.random.default_rng(1)
    names, order = rng.permutation(len(SIZES)), rng.permutation(len(GROUPS))
    after = Rivals.of(names[GROUPS][order], CONTENTS[order]).excluded
    assert names_of(after, np.argsort(names)) == [before[group] for group in np.argsort(names)]


def test_some_images_keep_their_rivals() -> None:
    rivals, seen = Rivals.of(GROUPS, CONTENTS), GROUPS != 3
    some = rivals.among(seen)
    names = np.unique(GROUPS[seen])
    assert np.array_equal(names[some.group], GROUPS[seen])
    expected = [{int(one) for one in rivals.excluded[group] if one not in (-1, 3)} for group in names]
    assert names_of(some.excluded, names) == expected
