"""Rows of several arrays are what NumPy gives of all of them behind each other."""

from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexer.sharded.rows import JoinedRows

ARRAYS = [np.arange(3 * count, dtype=np.float32).reshape(count, 3) + 100 * count for count in (4, 0, 1, 6, 0)]
WHOLE = np.concatenate(ARRAYS)
OFFSETS = np.cumsum([0, *map(len, ARRAYS)])
JOINED = JoinedRows([partial(np.asarray, array) for array in ARRAYS], OFFSETS, (3,), np.dtype(np.float32))


@given(st.slices(len(WHOLE)))
def test_slices(rows: slice) -> None:
    assert np.array_equal(JOINED[rows], WHOLE[rows])


@given(st.lists(st.integers(-len(WHOLE), len(WHOLE) - 1)))
def test_rows_in_any_order(rows: list[int]) -> None:
    chosen = np.array(rows, np.int64)
    assert np.array_equal(JOINED[chosen], WHOLE[chosen])
    assert JOINED[chosen[:, None]].shape == (len(rows), 1, 3)


def test_all_of_them_flags_and_one_row() -> None:
    flags = np.arange(len(WHOLE)) % 3 == 0
    assert (len(JOINED), JOINED.shape, JOINED.dtype) == (len(WHOLE), WHOLE.shape, WHOLE.dtype)
    assert np.array_equal(np.asarray(JOINED), WHOLE)
    assert np.array_equal(JOINED[flags], WHOLE[flags])
    assert np.array_equal(JOINED[5], WHOLE[5])
