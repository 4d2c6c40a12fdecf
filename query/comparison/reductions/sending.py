"""Send reductions to another process and back: what they were made with travels once, what they have seen travels alone."""

import io
import pickle
from collections.abc import Sequence
from typing import Any

from query.comparison.reductions.driver import Reduction
from query.comparison.reductions.rivals import Rivals
from query.comparison.reductions.sides import RealVectors
from query.comparison.reductions.weights import Weights

_MADE_WITH = (RealVectors, Rivals, Weights)  # the large things that reductions are made with, and do not change


class _Finding(pickle.Pickler):
    """Notes the large things, and goes no deeper."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), pickle.HIGHEST_PROTOCOL)
        self.found: dict[int, Any] = {}

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, _MADE_WITH):
            return None
        self.found[id(value)] = value
        return id(value)


class _Packing(pickle.Pickler):
    """Names the large things by their number."""

    def __init__(self, file: io.BytesIO, made_with: Sequence[Any]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._numbers = {id(value): number for number, value in enumerate(made_with)}

    def persistent_id(self, value: Any) -> int | None:
        return self._numbers[id(value)] if isinstance(value, _MADE_WITH) else None


class _Unpacking(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, made_with: Sequence[Any]) -> None:
        super().__init__(file)
        self._made_with = made_with

    def persistent_load(self, number: int) -> Any:
        return self._made_with[number]


def made_with(reductions: Sequence[Reduction[Any]]) -> list[Any]:
    """What the reductions were made with: real vectors, rivals, weights. Each once."""
    finding = _Finding()
    finding.dump(reductions)
    return list(finding.found.values())


def packed(reductions: Sequence[Reduction[Any]], made_with: Sequence[Any]) -> bytes:
    """The reductions without what they were made with."""
    file = io.BytesIO()
    _Packing(file, made_with).dump(reductions)
    return file.getvalue()


def unpacked(content: bytes, made_with: Sequence[Any]) -> list[Reduction[Any]]:
    """The reductions again, with what they were made with or an equal copy of it. Only of content that this program packed."""
    reductions: list[Reduction[Any]] = _Unpacking(io.BytesIO(content), made_with).load()
    return reductions
