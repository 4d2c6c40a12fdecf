"""Rows of arrays that lie one behind the other, read as one array."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class JoinedRows:
    """Arrays, one behind the other. Whoever asks for rows gets a copy, or a view where one array holds them all.

    Args:
        arrays: each gives its array when rows of it are asked for.
        offsets: (arrays + 1,) first row of each array, and how many rows there are.
        row: shape of a row.
        dtype: of all arrays.
    """

    def __init__(
        self, arrays: Sequence[Callable[[], NDArray[Any]]], offsets: NDArray[np.int64], row: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._arrays, self._offsets = arrays, offsets
        self.shape, self.dtype = (int(offsets[-1]), *row), dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, slice):
            return self._consecutive(*rows.indices(len(self)))
        if isinstance(rows, int | np.integer) and 0 <= rows < len(self):
            number = int(np.searchsorted(self._offsets, rows, side="right")) - 1
            one: NDArray[Any] = self._arrays[number]()[rows - self._offsets[number]]
            return one
        chosen = np.arange(len(self))[rows]  # as NumPy understands it: negative rows, flags, one row
        place = np.searchsorted(self._offsets, chosen, side="right") - 1
        out = np.empty((*np.shape(chosen), *self.shape[1:]), self.dtype)
        for number in np.unique(place):
            here = place == number
            out[here] = self._arrays[number]()[chosen[here] - self._offsets[number]]
        return out

    def _consecutive(self, start: int, stop: int, step: int) -> NDArray[Any]:
        if step != 1:
            return self[np.arange(start, stop, step)]
        parts: list[NDArray[Any]] = []
        stop = max(start, stop)
        for number in range(int(np.searchsorted(self._offsets, start, side="right")) - 1, len(self._arrays)):
            first = int(self._offsets[number])
            if first >= stop and parts:
                break
            parts.append(self._arrays[number]()[max(0, start - first) : max(0, stop - first)])
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, *self.shape[1:]), self.dtype), *parts])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)
