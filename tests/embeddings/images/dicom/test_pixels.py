"""Compressed pixels: the colours of JPEG whatever DICOM calls them, JPEG of 12 bits, values in codestreams."""

import io
import struct
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from embeddings.images.decoding import Decoding
from embeddings.images.dicom.pixels import _scan, colours_of
from embeddings.images.errors import BadPixels
from embeddings.images.formats import decode_bytes
from tests.helpers.dicoms import Element, dicom, encapsulated, opened, saved
from tests.helpers.noted import noted
from tests.helpers.pictures import DEEP, GREY, half_up, luma

pydicom = pytest.importorskip("pydicom")
SMOOTH = np.dstack([np.tile(np.linspace(10, 240, 56), (48, 1)), np.tile(np.linspace(200, 60, 48)[:, None], (1, 56)),
                    np.tile(np.linspace(60, 160, 56), (48, 1))]).astype(np.uint8)  # fmt: skip
LUMA = luma(Image.fromarray(SMOOTH))


def jpeg(sampling: str, marker: str) -> bytes:
    """The smooth picture as JPEG: YCbCr with JFIF or Adobe marker, or without either; or RGB, by its marker or its names."""
    buffer = io.BytesIO()
    if marker in ("adobe rgb", "named rgb", "plain rgb"):
        Image.fromarray(SMOOTH).save(buffer, "JPEG", quality=98, subsampling=sampling, keep_rgb=True)
    else:
        Image.fromarray(SMOOTH).save(buffer, "JPEG", quality=98, subsampling=sampling)
    return with_marker(buffer.getvalue(), marker)


def with_marker(data: bytes, marker: str) -> bytes:
    """Without the markers that Pillow wrote, with this one."""
    at, kept = 2, b""
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] not in (0xE0, 0xEE):
            kept += data[at:end]
        at = end
    kept += data[at:]
    if marker == "jfif":
        start = b"\xff\xe0" + struct.pack(">H5sHBHHBB", 16, b"JFIF\0", 0x101, 0, 1, 1, 0, 0)
    elif marker.startswith("adobe"):
        start = b"\xff\xee" + struct.pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0, int(marker == "adobe ycbcr"))
    else:
        start = b""
    if marker == "plain rgb":  # components 1, 2, 3 instead of R, G, B
        kept = numbered(kept)
    return b"\xff\xd8" + start + kept


def numbered(data: bytes) -> bytes:
    found = bytearray(data)
    frame = data.index(b"\xff\xc0")
    scan = data.index(b"\xff\xda")
    for each in range(3):
        found[frame + 10 + 3 * each] = found[scan + 5 + 2 * each] = each + 1
    return bytes(found)


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize(
    ("sampling", "marker"),
    [
        ("4:2:0", "none"),
        ("4:2:2", "none"),
        ("4:2:0", "jfif"),
        ("4:4:4", "jfif"),
        ("4:4:4", "adobe ycbcr"),
        ("4:2:0", "adobe ycbcr"),
        ("4:4:4", "adobe rgb"),
        ("4:4:4", "named rgb"),
    ],
)
def test_a_jpeg_that_says_what_it_holds_is_believed(sampling: str, marker: str, label: str) -> None:
    data = encapsulated(dicom(SMOOTH, label), "JPEGBaseline8Bit", [jpeg(sampling, marker)])
    got, notes = noted(data)
    assert np.abs(got.astype(int) - LUMA).max() <= 4
    assert bool(notes) == (label == "RGB" and "rgb" not in marker)


def test_the_samples_of_a_codestream_count() -> None:
    """Three components under a grey header, and one under a colour header."""
    data = encapsulated(dicom(GREY), "JPEGBaseline8Bit", [jpeg("4:4:4", "none")])
    got, notes = noted(data)
    assert np.abs(got.astype(int) - LUMA).max() <= 4
    assert "taken as 3" in notes[0]
    grey = io.BytesIO()
    Image.fromarray(GREY).save(grey, "JPEG", quality=98)
    got, notes = noted(encapsulated(dicom(SMOOTH, "RGB"), "JPEGBaseline8Bit", [grey.getvalue()]))
    assert np.abs(got.astype(int) - GREY).max() <= 8
    assert "taken as 1" in notes[0]


def test_samples_and_frames_that_run_lengths_tell() -> None:
    for values, attributes in (
        (SMOOTH, {"SamplesPerPixel": None, "PhotometricInterpretation": None}),
        (SMOOTH, {"PhotometricInterpretation": "MONOCHROME2"}),
    ):
        dataset = opened(dicom(values, "RGB"))
        dataset.compress(pydicom.uid.RLELossless)
        for name, value in attributes.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)
        got, notes = noted(saved(dataset))
        np.testing.assert_array_equal(got, LUMA)
        assert notes
    dataset = opened(dicom(np.stack([GREY, 255 - GREY]), frames=2))
    dataset.compress(pydicom.uid.RLELossless)
    dataset["NumberOfFrames"] = Element("IS", "two").raw("NumberOfFrames")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = decode_bytes(saved(dataset), "a.dcm", Decoding())
    np.testing.assert_array_equal(first.pixels, GREY)
    np.testing.assert_array_equal(second.pixels, 255 - GREY)


def test_a_jpeg_that_says_nothing_is_what_dicom_calls_it() -> None:
    for label, marker in (("YBR_FULL", "none"), ("YBR_FULL_422", "none"), ("RGB", "plain rgb")):
        data = encapsulated(dicom(SMOOTH, label), "JPEGBaseline8Bit", [jpeg("4:4:4", marker)])
        assert np.abs(noted(data)[0].astype(int) - LUMA).max() <= 4


def test_markers_are_read_where_they_stand() -> None:
    """The word Adobe in a comment is no marker."""
    plain = jpeg("4:4:4", "plain rgb")
    comment = b"\xff\xfe" + struct.pack(">H", 20) + b"Adobe and JFIF\0xxx"
    assert colours_of(plain[:2] + comment + plain[2:]) == ""
    assert colours_of(jpeg("4:2:0", "none")) == "YCbCr"
    assert colours_of(b"") == colours_of(b"\xff\xd8") == ""


def test_frames_of_other_sizes_or_kinds() -> None:
    small = io.BytesIO()
    Image.fromarray(SMOOTH[:20]).save(small, "JPEG")
    with pytest.raises(BadPixels, match="56 x 20 pixels, expected 56 x 48"):
        noted(encapsulated(dicom(SMOOTH, "YBR_FULL_422"), "JPEGBaseline8Bit", [small.getvalue()]))
    grey = io.BytesIO()
    Image.fromarray(GREY).save(grey, "JPEG")
    two = [jpeg("4:2:0", "none"), grey.getvalue()]
    with pytest.raises(BadPixels, match="1 samples a pixel, expected 3"):
        noted(encapsulated(dicom(SMOOTH, "YBR_FULL_422", NumberOfFrames="2"), "JPEGBaseline8Bit", two))


# 12 bits


def jpeg_12(values: NDArray[np.uint16], scan: bytes = b"\0\x3f\0") -> bytes:
    """JPEG process 2 of 12 bits (ITU-T T.81) with the mean of each block of 8x8 alone: its DC coefficient, quantised by 1.

    The quantisation table is all ones; the DC coefficient is eight times the mean less 2048. Huffman codes of five bits.
    """
    height, width = values.shape
    means = values.reshape(height // 8, 8, width // 8, 8).mean(axis=(1, 3))
    coefficients = np.round(8 * (means - 2048)).astype(int)
    bits, before = "", 0
    for value in coefficients.ravel().tolist():
        difference, before = value - before, value
        length = abs(difference).bit_length()
        extra = difference if difference >= 0 else difference + (1 << length) - 1
        bits += f"{length:05b}" + (f"{extra:0{length}b}" if length else "") + "0"  # then the end of the block
    bits += "1" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    quantise = segment(0xDB, bytes([0]) + bytes([1] * 64))
    frame = segment(0xC1, struct.pack(">BHHBBBB", 12, height, width, 1, 1, 0x11, 0))
    dc = segment(0xC4, bytes([0x00]) + bytes([0, 0, 0, 0, 17]) + bytes(11) + bytes(range(17)))
    ac = segment(0xC4, bytes([0x10, 1]) + bytes(15) + bytes([0]))  # one code: the end of the block
    return b"\xff\xd8" + quantise + frame + dc + ac + segment(0xDA, bytes([1, 1, 0x00]) + scan) + packed + b"\xff\xd9"


@pytest.mark.parametrize("scan", [b"\0\x3f\0", b"\0\0\0"])
def test_jpeg_of_12_bits(scan: bytes) -> None:
    """Also where the scan names no coefficients, as some writers have it."""
    for package in ("pylibjpeg", "libjpeg"):
        pytest.importorskip(package)
    blocks = np.kron(DEEP[::8, ::8], np.ones((8, 8), np.uint16))
    window: dict[str, Any] = {"WindowCenter": "1500", "WindowWidth": "3000", "VOILUTFunction": "LINEAR_EXACT"}
    data = encapsulated(dicom(blocks, bits=12, **window), "JPEGExtended12Bit", [jpeg_12(blocks, scan)])
    assert np.abs(noted(data)[0].astype(int) - half_up(blocks, 0, 3000)).max() <= 1


def test_what_no_decoder_reads_names_the_codec() -> None:
    broken = jpeg_12(np.full((48, 56), 100, np.uint16))[:-40]
    with pytest.raises(BadPixels, match=r"JPEG Extended \(Process 2 and 4\)"):
        noted(encapsulated(dicom(DEEP, bits=12), "JPEGExtended12Bit", [broken.replace(b"\xff\xc4", b"\xff\xc8")]))


def test_scans_are_mended_only_where_they_are_broken() -> None:
    values = np.full((8, 8), 9, np.uint16)
    assert _scan(jpeg_12(values)) is None
    assert _scan(jpeg_12(values, b"\0\0\0")) is not None
    progressive = io.BytesIO()
    Image.fromarray(GREY).save(progressive, "JPEG", progressive=True)
    assert _scan(progressive.getvalue()) is None


# Precision


@pytest.mark.parametrize(
    ("syntax", "plugin"), [("JPEGLSLossless", "jpeg_ls"), ("JPEG2000Lossless", "openjpeg"), ("RLELossless", "pydicom")]
)
@pytest.mark.parametrize("signed", [False, True])
def test_a_high_bit_is_that_of_the_codestream(syntax: str, plugin: str, signed: bool) -> None:
    """A codestream of 16 bits holds cells, one of 12 bits values: the header may claim the same of both."""
    pytest.importorskip(plugin)
    values: NDArray[Any] = DEEP.astype(np.int16) - 1000 if signed else DEEP
    cells = (values.astype(np.int32) << 4).astype(values.dtype)
    window: dict[str, Any] = {"WindowCenter": "700", "WindowWidth": "4000", "VOILUTFunction": "LINEAR_EXACT"}
    expected = half_up(values, -1300, 2700)
    for stored, bits in ((cells, 16), (values, 12)):
        dataset = opened(dicom(stored, bits=bits, **window))
        dataset.compress(getattr(pydicom.uid, syntax))
        dataset.BitsStored, dataset.HighBit = 12, 15
        if syntax == "RLELossless" and bits == 12:  # knows no precision
            dataset.HighBit = 11
        np.testing.assert_array_equal(noted(saved(dataset))[0], expected)
