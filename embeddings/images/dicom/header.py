"""Read attributes of a DICOM file one by one: one that is broken counts as absent and is noted."""

import math
import sys
from collections.abc import Iterator
from typing import Any, Literal

from embeddings.images.errors import printable

_MOST_NOTES = 20  # of a file


class Header:
    """The attributes of a dataset, or of an item of a sequence.

    Args:
        dataset: of pydicom; its elements are converted when they are read, and that may raise anything.
        notes: what was found wrong so far, one line each; items of sequences write into the same list.
    """

    def __init__(self, dataset: Any, notes: list[str] | None = None) -> None:
        self.dataset = dataset
        self.notes: list[str] = [] if notes is None else notes

    def note(self, text: str) -> None:
        """Say once what was found wrong and what was done about it."""
        if text not in self.notes and len(self.notes) < _MOST_NOTES:
            self.notes.append(text)

    @property
    def little_endian(self) -> bool:
        """Byte order of words (VR OW) in this file."""
        original = self.dataset.original_encoding[1]
        return sys.byteorder == "little" if original is None else bool(original)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.dataset

    def value(self, keyword: str) -> Any:
        """The value of an attribute as pydicom gives it, its bytes where it cannot be converted; None where absent or empty."""
        if keyword not in self.dataset:
            return None
        try:
            value = self.dataset[keyword].value
        except Exception:  # pydicom converts on access, and a broken value makes it raise whatever comes
            value = _raw(self.dataset, keyword)
        return None if value is None or (hasattr(value, "__len__") and not len(value)) else value

    def replace(self, keyword: str, value: int) -> None:
        """Put an integer in the place of an attribute."""
        if keyword in self.dataset:
            del self.dataset[keyword]
        setattr(self.dataset, keyword, value)

    def numbers(self, keyword: str) -> list[float]:
        """All values of a numeric attribute; none where it is absent, or where one is no finite number, which is noted."""
        value = self.value(keyword)
        if value is None:
            return []
        try:
            found = [float(each) for each in _listed(value)]
        except (TypeError, ValueError, OverflowError):
            found = [math.nan]
        if all(map(math.isfinite, found)):
            return found
        self.note(f"{keyword} {_shown(value)} is no number: taken as absent")
        return []

    def number(self, keyword: str) -> float | None:
        """The first value of a numeric attribute, None where it is absent or broken."""
        return next(iter(self.numbers(keyword)), None)

    def integers(self, keyword: str) -> list[int]:
        """All values of an attribute of integers, also where its VR is one of bytes or text."""
        value = self.value(keyword)
        if isinstance(value, bytes | bytearray) and not bytes(value).strip(b" \0").isdigit():
            return _unpacked(bytes(value), self.little_endian)
        return [round(each) for each in self.numbers(keyword)]

    def integer(self, keyword: str) -> int | None:
        """The first of `integers`, None where there is none."""
        return next(iter(self.integers(keyword)), None)

    def text(self, keyword: str) -> str:
        """An attribute as upper-case text without padding; empty where it is absent or no text."""
        value = self.value(keyword)
        if isinstance(value, bytes | bytearray):
            value = bytes(value).decode("ascii", "replace")
        elif not isinstance(value, str) and hasattr(value, "__len__"):
            value = value[0]
        return "" if value is None else str(value).strip(" \0").upper()

    def items(self, keyword: str) -> list["Header"]:
        """The items of a sequence; none where it is absent or no sequence, which is noted."""
        value = self.value(keyword)
        if value is None:
            return []
        items = [] if isinstance(value, str | bytes) or not hasattr(value, "__iter__") else list(value)
        if not items or not all(hasattr(item, "original_encoding") for item in items):
            self.note(f"{keyword} is no sequence: taken as absent")
            return []
        return [Header(item, self.notes) for item in items]

    def places(self, index: int, macro: str) -> Iterator["Header"]:
        """Where attributes of a frame may stand, the nearest first (PS3.3 C.7.6.16).

        They are the item of this macro in the frame's own functional group, then in the shared one, then the dataset itself.
        """
        frames = self.items("PerFrameFunctionalGroupsSequence")[index : index + 1]
        for group in (*frames, *self.items("SharedFunctionalGroupsSequence")[:1]):
            yield from group.items(macro)[:1]
        yield self


def _raw(dataset: Any, keyword: str) -> Any:
    """The bytes of an element that pydicom cannot convert."""
    try:
        return dataset.get_item(keyword).value
    except Exception:
        return None


def _listed(value: Any) -> list[Any]:
    if isinstance(value, bytes | bytearray):
        value = bytes(value).decode("ascii").strip(" \0").split("\\")
    return [value] if isinstance(value, str) or not hasattr(value, "__len__") else list(value)


def _unpacked(data: bytes, little: bool) -> list[int]:
    """Integers of two bytes; one of four, or of one, where the length asks for it."""
    size = len(data) if len(data) in (1, 4) else 2
    order: Literal["little", "big"] = "little" if little else "big"
    return [int.from_bytes(data[at : at + size], order) for at in range(0, len(data) - size + 1, size)]


def _shown(value: Any) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes | bytearray) else str(value)
    return repr(printable(text))[:30]
