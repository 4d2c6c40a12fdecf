"""Lookup tables of DICOM: of modality and VOI LUT sequences, of palette colour, plain and segmented."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.images.dicom.header import Header
from embeddings.images.windowing import BLOCK, luma

MOST = 1 << 16  # entries of a table
_COLOURS = ("Red", "Green", "Blue")


class BadTable(Exception):
    """A lookup table makes no sense; the text says why."""


@dataclass(frozen=True, eq=False)
class Table:
    """A lookup table.

    Attributes:
        first: the input value of the first entry; lower ones get that entry, and those beyond the last entry get the last.
        entries: (n,) uint8 or uint16.
        bits: of an entry; the output range is 0..2**bits - 1.
    """

    first: int
    entries: NDArray[Any]
    bits: int

    @property
    def most(self) -> int:
        """The greatest value that can come out."""
        return int((1 << self.bits) - 1)

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """The entries of input values of any shape; fractions are rounded."""
        last = len(self.entries) - 1
        if values.dtype.kind in "iu" and values.dtype.itemsize < 8:
            places = np.subtract(values, self.first, dtype=np.int64)
        else:
            places = np.rint(np.clip(np.nan_to_num(values - float(self.first)), 0, last)).astype(np.int64)
        found: NDArray[Any] = self.entries.take(np.clip(places, 0, last, out=places))
        return found

    def of_picture(self, values: NDArray[Any]) -> NDArray[Any]:
        """The entries of the values of a picture, (H, W), in bounded memory."""
        found = np.empty(values.shape, self.entries.dtype)
        rows = max(1, BLOCK * len(values) // max(1, values.size))
        for start in range(0, len(values), rows):
            found[start : start + rows] = self(values[start : start + rows])
        return found


@dataclass(frozen=True)
class Descriptor:
    """LUT Descriptor: number of entries, first input value mapped, bits of an entry."""

    entries: int
    first: int
    bits: int

    @classmethod
    def of(cls, header: Header, keyword: str, signed: bool, most: int) -> "Descriptor":
        """The three values, PS3.3 C.7.6.3.1.5, C.11.1.1, C.11.2.1.1: 0 entries are 65,536.

        The element has one VR, US or SS, for three values of which only the second can be signed; so what it says is not
        followed. The second is signed where input values are. It is taken as signed, too, where no input value reaches it
        otherwise.

        Args:
            header: holds the descriptor.
            keyword: its name.
            signed: input values may be negative.
            most: the greatest of them.

        Raises:
            BadTable: it has not three values, or they make no sense.
        """
        values = header.integers(keyword)
        if len(values) != 3:
            raise BadTable(f"{keyword} has {len(values)} values, expected 3")
        entries, first, bits = values[0] & 0xFFFF or MOST, values[1] & 0xFFFF, values[2] & 0xFFFF
        if not 1 <= bits <= 16:
            header.note(f"{keyword} says {bits} bits an entry: taken as 16, or 8 where the length says so")
            bits = 16
        return cls(entries, first - MOST if first >= MOST // 2 and (signed or first > most) else first, bits)


def table_of(item: Header, signed: bool, most: int) -> Table:
    """The table of an item of a Modality or VOI LUT Sequence; arguments as of `Descriptor.of`.

    Raises:
        BadTable: it is empty or makes no sense.
    """
    descriptor = Descriptor.of(item, "LUTDescriptor", signed, most)
    entries = _plain(item, "LUTData", descriptor)
    return Table(descriptor.first, entries, _bits(entries, descriptor.bits))


def palette_of(header: Header, signed: bool, most: int) -> Table:
    """The palette colour tables of an image as one table of 8-bit grey, PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6.

    Raises:
        BadTable: they are missing or make no sense.
    """
    columns, descriptors = [], []
    for colour in _COLOURS:
        name = f"{colour}PaletteColorLookupTable"
        descriptor = Descriptor.of(header, f"{name}Descriptor", signed, most)
        descriptors.append(descriptor)
        if header.value(f"{name}Data") is not None:
            columns.append(_plain(header, f"{name}Data", descriptor))
        else:
            columns.append(_segmented(header, f"Segmented{name}Data", descriptor))
    count = max(map(len, columns))
    columns = [np.pad(column, (0, count - len(column)), "edge") for column in columns]
    bits = max(_bits(column, descriptors[0].bits) for column in columns)
    rgb = np.stack(columns, axis=-1)[None]
    return Table(descriptors[0].first, luma(rgb, bits)[0], 8)


def _bits(entries: NDArray[Any], bits: int) -> int:
    """Bits that entries really have: 8 in 16-bit cells, or as many as the cell, whatever the descriptor says of it.

    Values shall be scaled across the full range of 16 bits (PS3.3 C.7.6.3.1.6), but some writers store 8-bit values there.
    """
    greatest = int(entries.max())
    if entries.dtype == np.uint8 or (bits > 8 and greatest < 256):
        return 8
    return bits if greatest < 1 << bits else 16


def _plain(header: Header, keyword: str, descriptor: Descriptor) -> NDArray[Any]:
    """The entries of a plain table.

    Entries of 8 bits take a byte each, or two where the writer has padded them: the length tells (note in PS3.3 C.7.6.3.1.5).
    """
    value = header.value(keyword)
    if value is None:
        raise BadTable(f"{keyword} is missing")
    data = _bytes(header, keyword, value)
    count = descriptor.entries
    wide = len(data) not in (count, count + 1) if descriptor.bits > 8 else len(data) >= 2 * count
    entries = _words(header, keyword, data, wide)[:count]
    if not len(entries):
        raise BadTable(f"{keyword} is empty")
    if len(entries) < count:
        header.note(f"{keyword} has {len(entries)} of {count} entries: the last one stands for the rest")
    return entries


def _bytes(header: Header, keyword: str, value: Any) -> bytes:
    """The table's bytes; pydicom gives a list of integers where the VR is US or SS."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    order = "<u2" if header.little_endian else ">u2"
    return (np.array(header.integers(keyword), np.int64) & 0xFFFF).astype(order).tobytes()


def _words(header: Header, keyword: str, data: bytes, wide: bool) -> NDArray[Any]:
    """Bytes as 16-bit or 8-bit entries; in a big-endian file two 8-bit entries of a word (OW) are swapped, PS3.5 section 7.3."""
    order = "<u2" if header.little_endian else ">u2"
    words = np.frombuffer(data[: len(data) // 2 * 2], order)
    if wide:
        return words.astype(np.uint16)
    if not header.little_endian and header.dataset[keyword].VR != "OB":
        return words.astype("<u2").view(np.uint8)
    return np.frombuffer(data, np.uint8)


# Segmented tables


def _segmented(header: Header, keyword: str, descriptor: Descriptor) -> NDArray[Any]:
    """The entries of a segmented table, PS3.3 C.7.9.2.

    Descriptors name the bits of an entry, but writers differ in the width of what they store, and in the unit of an indirect
    segment's offset. What gives the declared number of entries is right.
    """
    value = header.value(keyword)
    if value is None:
        raise BadTable(f"{keyword.removeprefix('Segmented')} is missing")
    data = _bytes(header, keyword, value)
    ways = [(wide, unit) for wide in (descriptor.bits > 8, descriptor.bits <= 8) for unit in ((2, 1) if wide else (1,))]
    expanded = []
    for wide, unit in ways:
        try:
            entries = expand(_words(header, keyword, data, wide).tolist(), wide, unit)
        except BadTable:
            continue
        if len(entries) == descriptor.entries:
            return np.array(entries, np.uint16 if wide else np.uint8)
        expanded.append(np.array(entries[: descriptor.entries], np.uint16 if wide else np.uint8))
    if not expanded or not len(expanded[0]):
        raise BadTable(f"the segments of {keyword} make no table")
    header.note(f"{keyword} gives another number of entries than {descriptor.entries}: the last one stands for the rest")
    return expanded[0]


def expand(data: Sequence[int], wide: bool, unit: int) -> list[int]:
    """The entries that segments stand for.

    Args:
        data: of the segments, each a byte or, where `wide`, a word.
        wide: see above; it decides how the offset of an indirect segment is split.
        unit: bytes of an element of `data` that offsets count: they are in bytes.

    Raises:
        BadTable: it has no entry to start from, points to another indirect segment, or is far too long.
    """
    entries: list[int] = []
    at = segments = 0
    while at + 1 < len(data):  # what is left over pads the value
        if data[at] != 2:
            at, segments = _segment(data, at, entries), segments + 1
            continue
        parts = data[at + 2 : at + (4 if wide else 6)]
        back = sum(part << (16 if wide else 8) * place for place, part in enumerate(parts)) // unit
        for _ in range(data[at + 1]):
            back, segments = _segment(data, back, entries), segments + 1
            if segments > MOST:
                break
        at += 4 if wide else 6
        if segments > MOST or len(entries) > MOST:
            raise BadTable("the segments go beyond 65,536 entries")
    return entries


def _segment(data: Sequence[int], at: int, entries: list[int]) -> int:
    """Add the entries of a discrete or linear segment; gives where the next one begins."""
    opcode, length = (*data[at : at + 2], 0, 0)[:2] if at + 1 < len(data) else (-1, 0)
    if len(entries) + length > 2 * MOST:
        raise BadTable("the segments go beyond 65,536 entries")
    if opcode == 0:
        entries.extend(data[at + 2 : at + 2 + length])
        return at + 2 + length
    if opcode != 1 or not entries or at + 2 >= len(data):
        raise BadTable("a segment of no known kind")
    line = np.linspace(entries[-1], data[at + 2], length + 1)[1:]
    entries.extend(np.floor(line + 0.5).astype(int).tolist())
    return at + 3
