"""Modality, values of interest and presentation, against the formulas of PS3.3 C.11 written down here."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.images.decoding import Decoding
from embeddings.images.formats import decode_bytes
from tests.helpers.dicoms import Element, dicom, item, lut
from tests.helpers.noted import noted
from tests.helpers.pictures import DEEP, EXACT, GREY, half_up

pytest.importorskip("pydicom")
HU = DEEP.astype(np.int16) - 1100


def rounded(shares: NDArray[Any]) -> NDArray[np.uint8]:
    """Shares of the full range as 8 bits."""
    eight: NDArray[np.uint8] = np.floor(np.clip(shares, 0, 1) * 255 + 0.5).astype(np.uint8)
    return eight


def plain(data: bytes, decoding: Decoding | None = None) -> NDArray[np.uint8]:
    """The picture of a file that nothing is wrong with."""
    got, notes = noted(data, decoding)
    assert notes == ()
    return got


# Windows


@pytest.mark.parametrize(("centre", "width"), [(-40.0, 400.0), (0.5, 1000.0), (100.0, 3.0)])
def test_sigmoid_and_linear_exact_by_formula(centre: float, width: float) -> None:
    window: dict[str, Any] = {"WindowCenter": str(centre), "WindowWidth": str(width)}
    x = HU.astype(np.float64)
    with np.errstate(over="ignore"):
        sigmoid = 1 / (1 + np.exp(-4 * (x - centre) / width))
    np.testing.assert_array_equal(plain(dicom(HU, **window, VOILUTFunction="SIGMOID")), rounded(sigmoid))
    exact = (x - centre) / width + 0.5
    np.testing.assert_array_equal(plain(dicom(HU, **window, VOILUTFunction="LINEAR_EXACT")), rounded(exact))


def test_linear_of_width_1_is_a_threshold_of_whole_numbers() -> None:
    """x <= c - 0.5 is black, x > c - 0.5 white; of fractions nothing would be left, so there it is taken as LINEAR_EXACT."""
    data: dict[str, Any] = {"WindowCenter": "-40", "WindowWidth": "1"}
    np.testing.assert_array_equal(plain(dicom(HU, **data)), np.where(HU > -40.5, 255, 0))
    scaled = dicom(DEEP, RescaleSlope="0.0004", RescaleIntercept="0", WindowCenter="0.5", WindowWidth="1")
    np.testing.assert_array_equal(plain(scaled), rounded(DEEP * 0.0004))


def test_the_first_of_several_windows_counts() -> None:
    data = dicom(HU, WindowCenter=["-40", "300"], WindowWidth=["400", "1"], VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_array_equal(plain(data), half_up(HU, -240, 160))


# VOI LUT

CURVE = (np.linspace(0, 1, 4096) ** 2.2 * 65535).astype("<u2")


@pytest.mark.parametrize("curve", [CURVE, CURVE[::-1].copy()])
@pytest.mark.parametrize("where", ["dataset", "shared", "frame"])
def test_voi_lut_wherever_it_stands(curve: NDArray[Any], where: str) -> None:
    voi: dict[str, Any] = {"VOILUTSequence": [lut(curve)]}
    group = item(FrameVOILUTSequence=[item(**voi)])
    places: dict[str, dict[str, Any]] = {
        "dataset": voi,
        "shared": {"SharedFunctionalGroupsSequence": [group], "WindowCenter": "1", "WindowWidth": "2"},
        "frame": {"PerFrameFunctionalGroupsSequence": [group]},
    }
    np.testing.assert_array_equal(plain(dicom(DEEP, bits=12, **places[where])), rounded(curve[DEEP] / 65535))


def test_each_frame_has_its_own_voi_lut_or_window() -> None:
    groups = [
        item(FrameVOILUTSequence=[item(VOILUTSequence=[lut(CURVE)])]),
        item(FrameVOILUTSequence=[item(WindowCenter="1000", WindowWidth="500", VOILUTFunction="LINEAR_EXACT")]),
        item(FrameVOILUTSequence=[item(VOILUTSequence=[lut(CURVE[::-1].copy())])]),
    ]
    shared = item(PixelValueTransformationSequence=[item(RescaleSlope="1", RescaleIntercept="-10")])
    data = dicom(
        np.stack([DEEP] * 3), frames=3, bits=12, PerFrameFunctionalGroupsSequence=groups, SharedFunctionalGroupsSequence=[shared]
    )
    first, second, third = (frame.pixels for frame in decode_bytes(data, "a.dcm", Decoding()))
    np.testing.assert_array_equal(first, rounded(CURVE[DEEP - 10] / 65535))
    np.testing.assert_array_equal(second, half_up(DEEP - 10.0, 750, 1250))
    np.testing.assert_array_equal(third, rounded(CURVE[::-1][DEEP - 10] / 65535))


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_voi_lut_comes_after_the_modality(vr: str) -> None:
    """Its input are Hounsfield units, which may be negative: its first value is signed whatever VR it has."""
    first = -1000
    voi = lut(CURVE[::2].copy())
    voi["LUTDescriptor"] = item(LUTDescriptor=Element(vr, [2048, first if vr == "SS" else first + 65536, 16]))["LUTDescriptor"]
    data = dicom(DEEP, bits=12, RescaleSlope="1", RescaleIntercept="-1100", VOILUTSequence=[voi])
    inside = np.clip(DEEP.astype(int) - 1100 - first, 0, 2047)
    np.testing.assert_array_equal(plain(data), rounded(CURVE[::2][inside] / 65535))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_voi_lut_of_all_depths(bits: int) -> None:
    table = np.linspace(0, 2**bits - 1, 4096).astype("<u2")
    np.testing.assert_array_equal(
        plain(dicom(DEEP, bits=12, VOILUTSequence=[lut(table, bits=bits)])), rounded(table[DEEP] / (2.0**bits - 1))
    )


def test_fractions_between_the_entries_of_a_voi_lut() -> None:
    data = dicom(DEEP, bits=12, RescaleSlope="0.3", RescaleIntercept="5", VOILUTSequence=[lut(CURVE)])
    np.testing.assert_array_equal(plain(data), rounded(CURVE[np.rint(DEEP * 0.3 + 5).astype(int)] / 65535))


def test_modality_lut_then_window() -> None:
    table = np.arange(4096, dtype="<u2")[::-1].copy() * 3
    data = dicom(DEEP, bits=12, ModalityLUTSequence=[lut(table, ModalityLUTType="US")], WindowCenter="6000", WindowWidth="8000",
                 VOILUTFunction="LINEAR_EXACT")  # fmt: skip
    np.testing.assert_array_equal(plain(data), half_up(table[DEEP], 2000, 10000))


def test_given_window_comes_before_any_voi() -> None:
    decoding = Decoding(centre=0, width=1000)
    np.testing.assert_array_equal(plain(dicom(HU, VOILUTSequence=[lut(CURVE)]), decoding), half_up(HU, -500, 500))


# Presentation


@pytest.mark.parametrize("more", [{}, {"WindowCenter": "1000", "WindowWidth": "900"}, {"VOILUTSequence": [lut(CURVE)]}])
def test_inversion_comes_last_and_once(more: dict[str, Any]) -> None:
    shown = plain(dicom(DEEP, bits=12, **more))
    for photometric, shape in (("MONOCHROME1", None), ("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "INVERSE")):
        presented: dict[str, Any] = {} if shape is None else {"PresentationLUTShape": shape}
        np.testing.assert_array_equal(plain(dicom(DEEP, photometric, bits=12, **presented, **more)), 255 - shown)
    np.testing.assert_array_equal(plain(dicom(DEEP, bits=12, PresentationLUTShape="IDENTITY", **more)), shown)


# 8 bits


def test_a_window_leaves_plain_8_bits_alone() -> None:
    decoding = Decoding(centre=40, width=20)
    np.testing.assert_array_equal(plain(dicom(GREY), decoding), GREY)
    np.testing.assert_array_equal(plain(dicom(GREY.astype(np.uint16), bits=8), decoding), GREY)
    window: dict[str, Any] = {"WindowCenter": "100", "WindowWidth": "100", "VOILUTFunction": "LINEAR_EXACT"}
    np.testing.assert_array_equal(plain(dicom(GREY, **window), decoding), half_up(GREY, 50, 150))
    scaled = dicom(GREY, RescaleSlope="10", RescaleIntercept="-1000")
    np.testing.assert_array_equal(plain(scaled, Decoding(centre=0, width=800)), half_up(GREY * 10.0 - 1000, -400, 400))


# Padding


@pytest.mark.parametrize(
    ("dtype", "bits", "padding", "value"),
    [
        (np.int16, 16, -2000, Element("SS", -2000)),
        (np.int16, 16, -2000, Element("US", 63536)),
        (np.int16, 12, -2000, Element("US", 63536)),
        (np.int16, 12, -2000, Element("US", 2096)),  # of 12 bits
        (np.uint16, 16, 63536, Element("SS", -2000)),
        (np.uint16, 12, 4095, Element("US", 4095)),
        (np.int16, 16, -2000, Element("UN", b"\x30\xf8")),
        (np.int16, 16, -2000, Element("IS", "-2000")),
    ],
)
def test_padding_has_the_representation_of_the_pixels(
    dtype: type[np.integer[Any]], bits: int, padding: int, value: Element
) -> None:
    values: NDArray[Any] = (DEEP.astype(np.int32) // 2).astype(dtype)
    values[:10] = padding
    got = plain(dicom(values, bits=bits, PixelPaddingValue=value), EXACT)
    np.testing.assert_array_equal(got, half_up(values, values[10:].min(), values[10:].max()))


@pytest.mark.parametrize(("first", "last"), [(-2000, -1500), (-1500, -2000)])
def test_padding_may_be_a_range(first: int, last: int) -> None:
    values = HU.copy()
    values[:5], values[5:10] = -2000, -1600
    limits = {"PixelPaddingValue": first, "PixelPaddingRangeLimit": last}
    padding: dict[str, Any] = {name: Element("US", value + 65536) for name, value in limits.items()}
    np.testing.assert_array_equal(plain(dicom(values, **padding), EXACT), half_up(values, values[10:].min(), values[10:].max()))
