"""Palettes and lookup tables of every form that the standard allows and writers use, against tables applied by hand."""

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from embeddings.images.decoding import Decoding
from embeddings.images.dicom.tables import BadTable, expand
from embeddings.images.errors import BadPixels
from tests.helpers.dicoms import Element, big_endian, dicom, lut, opened, palette, saved
from tests.helpers.noted import noted
from tests.helpers.pictures import DEEP, GREY, luma

pytest.importorskip("pydicom")
RAMP = np.arange(256)
TABLES = np.stack([RAMP, RAMP[::-1], np.roll(RAMP, 80)]).astype(np.uint8)  # red, green, blue
EXPECTED = luma(Image.fromarray(np.moveaxis(TABLES[:, GREY], 0, -1)))


def shown(attributes: dict[str, Any], values: NDArray[Any] = GREY) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    return noted(dicom(values, "PALETTE COLOR", **attributes))


@pytest.mark.parametrize(
    ("tables", "bits"),
    [
        (TABLES.astype("<u2") << 8, 16),
        (TABLES.astype("<u2") * 257, 16),  # as the standard asks for it: the value in both bytes
        (TABLES, 8),
        (TABLES.astype("<u2"), 8),  # padded to 16 bits
        (TABLES.astype("<u2") * 257, 8),
        (TABLES.astype("<u2"), 16),  # not scaled across the range
        (TABLES, 16),  # a byte each, whatever the descriptor says
        (TABLES.astype("<u2") << 4, 12),
    ],
)
def test_palettes_of_all_widths(tables: NDArray[Any], bits: int) -> None:
    got, notes = shown(palette(tables, bits=bits))
    np.testing.assert_array_equal(got, EXPECTED)
    assert notes == ()


@pytest.mark.parametrize(("tables", "bits"), [(TABLES.astype("<u2") << 8, 16), (TABLES, 8), (TABLES.astype("<u2"), 8)])
@pytest.mark.parametrize("deep", [False, True])
def test_palettes_in_big_endian(tables: NDArray[Any], bits: int, deep: bool) -> None:
    names = [f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")]
    values = GREY.astype(np.uint16) if deep else GREY
    data = big_endian(dicom(values, "PALETTE COLOR", **palette(tables, bits=bits)), *names)
    assert opened(data).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2"
    np.testing.assert_array_equal(noted(data)[0], EXPECTED)


def test_palette_of_more_than_256_entries_of_8_bits() -> None:
    tables = np.repeat(TABLES, 16, axis=1)
    got, notes = shown(palette(tables, bits=8), GREY.astype(np.uint16) * 16 + 5)
    np.testing.assert_array_equal(got, EXPECTED)
    assert notes == ()


def test_palette_of_65536_entries_is_written_as_0() -> None:
    tables = np.repeat(TABLES.astype("<u2") << 8, 256, axis=1)
    attributes = palette(tables)
    assert attributes["RedPaletteColorLookupTableDescriptor"].value[0] == 0
    np.testing.assert_array_equal(shown(attributes, GREY.astype(np.uint16) * 256 + 7)[0], EXPECTED)


@pytest.mark.parametrize("first", [-128, -300, 100])
@pytest.mark.parametrize("vr", ["US", "SS"])
def test_first_value_mapped_is_in_the_representation_of_the_pixels(first: int, vr: str) -> None:
    """Under either VR; what lies outside the table gets its ends."""
    values = GREY.astype(np.int16) + first - 20
    attributes = palette(TABLES.astype("<u2") << 8, first=first)
    if vr == "SS":
        attributes = {
            name: Element("SS", [256, first, 16]) if name.endswith("Descriptor") else value for name, value in attributes.items()
        }
    inside = np.clip(GREY.astype(int) - 20, 0, 255)
    np.testing.assert_array_equal(shown(attributes, values)[0], luma(Image.fromarray(np.moveaxis(TABLES[:, inside], 0, -1))))


@pytest.mark.parametrize("vr", ["OB", "OW", "UN", "LO", "IS", "DS"])
def test_descriptors_of_any_vr(vr: str) -> None:
    value = struct.pack("<3H", 256, 0, 16) if vr in ("OB", "OW", "UN") else ["256", "0", "16"]
    attributes = palette(TABLES.astype("<u2") << 8)
    for name in attributes:
        if name.endswith("Descriptor"):
            attributes[name] = Element(vr, value)
    np.testing.assert_array_equal(shown(attributes)[0], EXPECTED)


def test_short_palette_is_said() -> None:
    attributes = palette(TABLES.astype("<u2")[:, :200] << 8)
    for name in attributes:
        if name.endswith("Descriptor"):
            attributes[name] = Element("US", [256, 0, 16])
    got, notes = shown(attributes)
    np.testing.assert_array_equal(got[GREY < 200], EXPECTED[GREY < 200])
    assert "200 of 256 entries" in notes[0]


def test_bad_palettes() -> None:
    with pytest.raises(BadPixels, match="BluePaletteColorLookupTableData is missing"):
        noted(dicom(GREY, "PALETTE COLOR", **dict(list(palette(TABLES).items())[:-1])))
    with pytest.raises(BadPixels, match="has 0 values, expected 3"):
        noted(dicom(GREY, "PALETTE COLOR"))


def test_bits_of_an_entry_are_told_by_the_length() -> None:
    for tables in (TABLES, TABLES.astype("<u2") << 8):
        got, notes = shown(palette(tables, bits=40))
        np.testing.assert_array_equal(got, EXPECTED)
        assert "40 bits an entry" in notes[0]


# Segmented


def segments(wide: bool) -> bytes:
    """Two entries as they are, a line to 99, a line of one entry, the first two again by an indirect segment, then a ramp."""
    scale = 256 if wide else 1
    words = [0, 2, 0, scale, 1, 98, 99 * scale, 1, 1, 99 * scale, 2, 1, *([0] * (2 if wide else 4))]
    rest = [value * scale for value in range(103, 256)]
    words += [0, len(rest), *rest]
    return struct.pack(f"<{len(words)}{'H' if wide else 'B'}", *words) + bytes(len(words) % 2 if not wide else 0)


SEGMENTED = np.array([0, *range(1, 100), 99, 0, 1, *range(103, 256)])


@pytest.mark.parametrize(("wide", "bits"), [(True, 16), (False, 8), (True, 8), (False, 16)])
def test_segmented_palettes(wide: bool, bits: int) -> None:
    """PS3.3 C.7.9.2 with all kinds of segments; entries of 8 bits may be stored in 16 and the other way round."""
    assert len(SEGMENTED) == 256
    attributes = palette(TABLES, bits=bits, segmented=segments(wide))
    np.testing.assert_array_equal(shown(attributes)[0], SEGMENTED[GREY])


def test_segmented_palette_in_big_endian() -> None:
    for wide in (True, False):
        attributes = palette(TABLES, bits=16 if wide else 8, segmented=segments(wide))
        names = [f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")]
        data = big_endian(dicom(GREY, "PALETTE COLOR", **attributes), *names)
        np.testing.assert_array_equal(noted(data)[0], SEGMENTED[GREY])


def test_indirect_segments_point_by_bytes() -> None:
    """The second segment, at byte 6 in 16-bit data: it goes on from the last entry."""
    data = [0, 1, 10, 1, 4, 50, 0, 1, 10, 2, 1, 6, 0]
    expected = [10, 20, 30, 40, 50, 10, 20, 30, 40, 50]
    assert expand(data, wide=True, unit=2) == expected
    assert expand([*data[:-2], 3, 0], wide=True, unit=1) == expected


@pytest.mark.parametrize(
    "data",
    [
        [1, 4, 50],  # a line without a start
        [3, 1, 1],
        [0, 1, 5, 2, 1, 6, 0],  # points to itself
        [0, 1, 5, 2, 1, 600, 0],
        [0, 1, 5, *([1, 65535, 9] * 3)],
        [0, 1, 5, *([2, 65535, 0, 0] * 3)],
    ],
)
def test_segments_that_make_no_table(data: list[int]) -> None:
    with pytest.raises(BadTable):
        expand(data, wide=True, unit=2)


def test_segments_end_soon_whatever_they_say() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = [0, 3, 1, 2, 3, *rng.choice([0, 1, 2, 3, 4, 60000, 65535], 400).tolist()]
        try:
            assert len(expand(data, wide=True, unit=int(rng.integers(1, 3)))) <= 1 << 17
        except BadTable:
            continue


# Supplemental


def test_supplemental_palette_colours_the_upper_range() -> None:
    """PS3.3 C.8.16.2.1.1.1: from the first value mapped on the palette counts, below it the greyscale pipeline."""
    values = DEEP.copy()
    values[:8] = 3000 + GREY[:8].astype(np.uint16)
    attributes = palette(TABLES.astype("<u2") << 8, first=3000)
    got, notes = noted(dicom(values, bits=12, PixelPresentation="COLOR", **attributes), Decoding(low=0, high=100))
    np.testing.assert_array_equal(got[:8], EXPECTED[:8])
    low, high = int(values[8:].min()), int(values[8:].max())
    np.testing.assert_array_equal(got[8:], np.floor((values[8:] - float(low)) * 255 / (high - low) + 0.5))
    assert notes == ()
    plain, _ = noted(dicom(values, bits=12, **attributes), Decoding(low=0, high=100))  # the tables alone mean nothing
    assert plain[:8].min() > got[:8].min()


# Modality and VOI


def test_tables_of_a_list_of_integers_and_of_8_bits() -> None:
    """LUT Data under VR US, and of entries of 8 bits, packed two in a word or padded."""
    table = RAMP[::-1].astype(np.uint8)
    for data, bits in (
        (Element("US", [int(value) * 257 for value in table]), 16),
        (Element("US", np.frombuffer(table.tobytes(), "<u2").tolist()), 8),
        (Element("OW", table.astype("<u2").tobytes()), 8),
        (Element("OW", table.tobytes()), 8),
    ):
        sequence = lut(table, bits=bits)
        sequence["LUTData"] = data.raw("LUTData")
        item = opened(dicom(GREY))
        item.VOILUTSequence = [sequence]
        np.testing.assert_array_equal(noted(saved(item))[0], 255 - GREY)
