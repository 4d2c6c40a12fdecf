"""Text column: texts of an Arrow table as a sequence, each a Python string only when it is asked for."""

from collections.abc import Iterator, Sequence
from typing import overload

import pyarrow as pa

_BATCH = 65_536  # texts that are Python strings at a time


class TextColumn(Sequence[str]):
    """Texts that stay in Arrow: of ten million names Python strings would take a gigabyte.

    Args:
        column: strings, none of them null.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        return str(self._column[int(index)].as_py())

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BATCH):
            yield from self._column.slice(start, _BATCH).to_pylist()
