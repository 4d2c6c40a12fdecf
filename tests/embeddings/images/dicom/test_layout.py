"""Where values lie in their cells, and headers with one attribute missing or broken: the picture is there, and the note."""

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from embeddings.images.decoding import Decoding
from embeddings.images.errors import BadPixels, TooManyPixels
from embeddings.images.formats import decode_bytes
from tests.helpers.dicoms import Element, big_endian, dicom, item, opened, saved
from tests.helpers.noted import noted
from tests.helpers.pictures import COLOUR, DEEP, EXACT, GREY, half_up, luma

pytest.importorskip("pydicom")
RNG = np.random.default_rng(5)
WINDOW: dict[str, Any] = {"WindowCenter": "1000", "WindowWidth": "2000", "VOILUTFunction": "LINEAR_EXACT"}
SHOWN = half_up(DEEP, 0, 2000)


# High bit


@pytest.mark.parametrize(("bits", "high_bit"), [(12, 15), (12, 13), (12, 11), (13, 14), (14, 15)])
@pytest.mark.parametrize("garbage", [False, True])
def test_values_anywhere_in_their_cells(bits: int, high_bit: int, garbage: bool) -> None:
    """PS3.5 section 8.1.1; the other bits of a cell may hold anything, such as an overlay."""
    shift = high_bit + 1 - bits
    cells = DEEP.astype(np.uint32) << shift
    if garbage:
        mask = ((1 << bits) - 1) << shift
        cells |= RNG.integers(0, 1 << 16, DEEP.shape).astype(np.uint32) & np.uint32(~mask & 0xFFFF)
    data = dicom(cells.astype(np.uint16), bits=bits, HighBit=high_bit, **WINDOW)
    assert noted(data)[0].tolist() == SHOWN.tolist()
    assert noted(data)[1] == ()


@pytest.mark.parametrize(("bits", "high_bit"), [(12, 15), (12, 13), (12, 11), (10, 12)])
def test_the_sign_is_the_high_bit(bits: int, high_bit: int) -> None:
    values = (DEEP.astype(np.int32) - 1500) // 4
    cells = ((values & ((1 << bits) - 1)) << high_bit + 1 - bits).astype(np.uint16)
    data = dicom(cells, bits=bits, HighBit=high_bit, PixelRepresentation=1)
    np.testing.assert_array_equal(noted(data, EXACT)[0], half_up(values, values.min(), values.max()))


def test_high_bit_in_big_endian() -> None:
    data = big_endian(dicom(DEEP << 3, bits=12, HighBit=14, **WINDOW))
    np.testing.assert_array_equal(noted(data)[0], SHOWN)


def test_a_high_bit_that_the_values_belie_is_said() -> None:
    got, notes = noted(dicom(DEEP, bits=12, HighBit=15, **WINDOW))
    np.testing.assert_array_equal(got, SHOWN)
    assert "lowest 12 bits" in notes[0]


# One attribute


@pytest.mark.parametrize(
    ("attributes", "note"),
    [
        ({"SamplesPerPixel": None}, "SamplesPerPixel is missing: taken as 1"),
        ({"SamplesPerPixel": 0}, "SamplesPerPixel is 0: taken as 1"),
        ({"PhotometricInterpretation": None}, "PhotometricInterpretation is missing: taken as MONOCHROME2"),
        ({"PhotometricInterpretation": "GREYSCALE"}, "PhotometricInterpretation is GREYSCALE"),
        ({"PhotometricInterpretation": ""}, "PhotometricInterpretation is missing"),
        ({"PhotometricInterpretation": Element("CS", "monochrome2")}, ""),
        ({"BitsAllocated": None}, "BitsAllocated is missing: taken as 16"),
        ({"BitsStored": None}, "BitsStored is missing: taken as 16"),
        ({"BitsStored": 99}, "BitsStored is 99"),
        ({"HighBit": None}, "HighBit is missing: taken as 11"),
        ({"HighBit": 3}, "HighBit is 3"),
        ({"HighBit": 77}, "HighBit is 77"),
        ({"PixelRepresentation": None}, "PixelRepresentation is missing: taken as 0"),
        ({"PixelRepresentation": 5}, "PixelRepresentation is 5"),
        ({"NumberOfFrames": Element("IS", "one")}, "NumberOfFrames"),
        ({"NumberOfFrames": "0"}, ""),
        ({"BitsStored": Element("OB", b"\x0c\x00")}, ""),
        ({"BitsStored": Element("UN", b"\x0c\x00")}, ""),
        ({"BitsStored": Element("IS", "12")}, ""),
        ({"BitsStored": Element("SS", 12)}, ""),
        ({"BitsStored": Element("UL", 12)}, ""),
        ({"BitsStored": Element("DS", "12.0")}, ""),
        ({"BitsStored": Element("LO", "twelve")}, "BitsStored"),
        ({"Rows": Element("UL", 48)}, ""),
        ({"Columns": Element("IS", "56")}, ""),
    ],
)
def test_one_attribute_of_the_layout(attributes: dict[str, Any], note: str) -> None:
    got, notes = noted(dicom(DEEP, **{"bits": 12, **WINDOW, **attributes}))
    np.testing.assert_array_equal(got, SHOWN)
    assert bool(notes) == bool(note)
    assert note in "; ".join(notes)


PERCENTILES = half_up(DEEP, *np.percentile(DEEP, (0.5, 99.5)))


@pytest.mark.parametrize(
    "attributes",
    [
        {"WindowCenter": Element("DS", "18,0"), "WindowWidth": Element("DS", "3600")},
        {"WindowCenter": Element("DS", "n/a"), "WindowWidth": Element("DS", "n/a")},
        {"WindowCenter": Element("LO", "n/a"), "WindowWidth": Element("LO", "400")},
        {"WindowCenter": Element("DS", "500"), "WindowWidth": Element("DS", "0")},
        {"WindowCenter": Element("DS", "500"), "WindowWidth": Element("DS", "-100")},
        {"WindowCenter": Element("DS", "NaN"), "WindowWidth": Element("DS", "100")},
        {"RescaleSlope": Element("DS", "0"), "RescaleIntercept": Element("DS", "0")},
        {"RescaleSlope": Element("DS", "1,5")},
        {"RescaleIntercept": Element("DS", "abc")},
        {"ModalityLUTSequence": [item(LUTDescriptor=Element("US", b""), LUTData=Element("OW", b""))]},
        {"ModalityLUTSequence": [item()]},
        {"ModalityLUTSequence": Element("LO", "none")},
        {"VOILUTSequence": [item()]},
        {"VOILUTSequence": [item(LUTDescriptor=Element("US", [256, 0]), LUTData=Element("OW", bytes(512)))]},
        {"VOILUTSequence": [item(LUTDescriptor=Element("US", [256, 0, 16]))]},
        {"PixelPaddingValue": Element("LO", "none")},
    ],
)
def test_one_optional_attribute(attributes: dict[str, Any]) -> None:
    """Broken, it counts as absent; the note names it."""
    got, notes = noted(dicom(DEEP, bits=12, **attributes))
    np.testing.assert_array_equal(got, PERCENTILES)
    assert any(name in "; ".join(notes) for name in attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"ModalityLUTSequence": []},
        {"VOILUTSequence": []},
        {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": "500"},
        {"RescaleSlope": ""},
        {"PerFrameFunctionalGroupsSequence": []},
        {"SharedFunctionalGroupsSequence": [item()]},
    ],
)
def test_an_empty_attribute_is_absent_without_a_word(attributes: dict[str, Any]) -> None:
    got, notes = noted(dicom(DEEP, bits=12, **attributes))
    np.testing.assert_array_equal(got, PERCENTILES)
    assert notes == ()


def test_a_function_that_is_not_known_is_linear() -> None:
    window: dict[str, Any] = {"WindowCenter": "1000", "WindowWidth": "2000"}
    got, notes = noted(dicom(DEEP, bits=12, VOILUTFunction="CUBIC", **window))
    np.testing.assert_array_equal(got, noted(dicom(DEEP, bits=12, **window))[0])
    assert "CUBIC" in notes[0]


def test_a_broken_place_gives_way_to_the_next() -> None:
    group = item(FrameVOILUTSequence=[item(WindowCenter=Element("DS", "n/a"), WindowWidth=Element("DS", "1"))])
    got, notes = noted(dicom(DEEP, bits=12, PerFrameFunctionalGroupsSequence=[group], **WINDOW))
    np.testing.assert_array_equal(got, SHOWN)
    assert "WindowCenter" in notes[0]


def test_colour_is_known_by_its_samples() -> None:
    expected = luma(Image.fromarray(COLOUR))
    for attributes in (
        {"SamplesPerPixel": None},
        {"PhotometricInterpretation": None},
        {"SamplesPerPixel": None, "PhotometricInterpretation": None},
        {"PlanarConfiguration": None},
        {"PhotometricInterpretation": "MONOCHROME2"},
        {"SamplesPerPixel": 1},
    ):
        got, notes = noted(dicom(COLOUR, "RGB", **attributes))
        np.testing.assert_array_equal(got, expected)
        assert notes
    planes = np.ascontiguousarray(np.moveaxis(COLOUR, -1, 0))
    dataset = opened(dicom(COLOUR, "RGB"))
    dataset.PlanarConfiguration, dataset.PixelData = 1, planes.tobytes()
    np.testing.assert_array_equal(noted(saved(dataset))[0], expected)


def test_ybr_full_422_that_is_not_subsampled() -> None:
    ybr: NDArray[np.uint8] = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    got, notes = noted(dicom(ybr, "YBR_FULL_422"))
    assert np.abs(got.astype(int) - luma(Image.fromarray(COLOUR))).max() <= 2
    assert "taken as YBR_FULL" in notes[0]


@pytest.mark.parametrize("compressed", [False, True])
def test_frames_beyond_those_declared_count(compressed: bool) -> None:
    """pydicom gives all that are there; together they may have 40 times as many pixels as one picture may."""
    dataset = opened(dicom(np.stack([GREY] * 41), frames=41))
    if compressed:
        dataset.compress("1.2.840.10008.1.2.5")
    dataset.NumberOfFrames = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(list(decode_bytes(saved(dataset), "a.dcm", Decoding()))) == 41
        with pytest.raises(TooManyPixels, match="in all frames"):
            list(decode_bytes(saved(dataset), "a.dcm", Decoding(max_pixels=GREY.size)))


def test_frames_are_counted_where_their_number_is_none() -> None:
    data = dicom(np.stack([GREY, 255 - GREY]), frames=2, NumberOfFrames=Element("IS", "two"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = decode_bytes(data, "a.dcm", Decoding())
    np.testing.assert_array_equal(first.pixels, GREY)
    np.testing.assert_array_equal(second.pixels, 255 - GREY)


def test_what_cannot_be_concluded_is_refused() -> None:
    for attributes, text in (
        ({"SamplesPerPixel": 4}, "4 samples"),
        ({"PhotometricInterpretation": "HSV"}, "HSV"),
        ({"BitsAllocated": 24}, "24 bits allocated"),
        ({"Rows": 0}, "no rows"),
        ({"Rows": Element("LO", "many")}, "no rows"),
    ):
        with pytest.raises(BadPixels, match=text):
            noted(dicom(GREY, **attributes))
