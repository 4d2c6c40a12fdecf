"""TIFF of every kind of sample, written by tifffile or by hand, against values computed here."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from embeddings.images.errors import BadPixels, ImageError
from tests.helpers.formats import tiff
from tests.helpers.pictures import COLOUR, EXACT, GREY, frames, half_up, luma, pixels

FILES = Path(__file__).parents[3] / "data" / "formats"
LUMA = luma(Image.fromarray(COLOUR))
COMPRESSIONS = [None, "zlib", "lzw", "packbits", "zstd"]


def deep(values: NDArray[Any]) -> NDArray[np.uint8]:
    return half_up(values, float(values.min()), float(values.max()))


@pytest.mark.parametrize(
    "file", [*sorted((FILES / "real").glob("*.tif")), FILES / "real" / "array.npy"], ids=lambda file: file.name
)
def test_files_from_the_field(tmp_path: Path, file: Path) -> None:
    expected = np.asarray(Image.open(FILES / "expected" / f"{file.stem}.png"))
    np.testing.assert_allclose(pixels(tmp_path, file.read_bytes(), file.name).astype(int), expected, atol=1)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["strips", "tiles"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u2", "i2", "i4", "u4", "u8", "i8"])
def test_deep_grey(tmp_path: Path, dtype: str, compression: str | None, tile: Any, byteorder: Any) -> None:
    values = (GREY / 255).astype(dtype) if dtype[0] == "f" else GREY.astype(dtype) * 100 - (5000 if dtype[0] == "i" else 0)
    data = tiff(values, compression=compression, tile=tile, byteorder=byteorder)
    np.testing.assert_array_equal(pixels(tmp_path, data, decoding=EXACT), deep(values))


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f2", "f4", "f8"])
@pytest.mark.parametrize("compression", ["zlib", "lzw"])
def test_predictors(tmp_path: Path, dtype: str, compression: str) -> None:
    values = (GREY / 255).astype(dtype) if dtype[0] == "f" else GREY.astype(dtype)
    expected = GREY if dtype == "u1" else deep(values)
    np.testing.assert_array_equal(
        pixels(tmp_path, tiff(values, compression=compression, predictor=True), decoding=EXACT), expected
    )


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_colour_in_one_plane_and_in_three(tmp_path: Path, planes: Any, compression: str | None) -> None:
    def data(values: NDArray[Any]) -> bytes:
        stored = values if planes == "contig" else np.moveaxis(values, -1, 0)
        return tiff(stored, photometric="rgb", planarconfig=planes, compression=compression)

    np.testing.assert_array_equal(pixels(tmp_path, data(COLOUR)), LUMA)
    np.testing.assert_array_equal(pixels(tmp_path, data(COLOUR.astype(np.uint16) * 257)), LUMA)
    np.testing.assert_array_equal(pixels(tmp_path, data(COLOUR.astype(np.uint16) * 16)), LUMA)  # 12 bits in 16
    floats = COLOUR.astype(np.float32) / 300
    expected = luma(Image.fromarray(deep(floats)))
    np.testing.assert_array_equal(pixels(tmp_path, data(floats), decoding=EXACT), expected)


@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12, 14])
def test_odd_numbers_of_bits(tmp_path: Path, bits: int) -> None:
    values = (GREY.astype(np.uint16) << 8 >> 16 - bits).astype(np.uint8 if bits < 8 else np.uint16)
    expected = half_up(values, 0, 2**bits - 1) if bits < 8 else deep(values)
    np.testing.assert_array_equal(pixels(tmp_path, tiff(values, bitspersample=bits), decoding=EXACT), expected)


def test_signed_8_bit_counts_from_its_least_value(tmp_path: Path) -> None:
    values = (GREY.astype(np.int16) - 128).astype(np.int8)
    np.testing.assert_array_equal(pixels(tmp_path, tiff(values)), GREY)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_white_is_zero(tmp_path: Path, dtype: str) -> None:
    values = GREY.astype(dtype)
    expected = 255 - (GREY if dtype == "u1" else deep(values))
    for tile in (None, (16, 16)):
        data = tiff(values, photometric="miniswhite", tile=tile)
        np.testing.assert_array_equal(pixels(tmp_path, data, decoding=EXACT), expected)


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"compression": "lzw", "tile": (16, 16)}])
def test_palettes(tmp_path: Path, options: dict[str, Any]) -> None:
    colours = np.random.default_rng(0).integers(0, 65536, (3, 256)).astype(np.uint16)
    expected = luma(Image.fromarray((colours >> 8).astype(np.uint8).T[GREY]))
    np.testing.assert_array_equal(pixels(tmp_path, tiff(GREY, photometric="palette", colormap=colours, **options)), expected)


def test_samples_that_are_extra_do_not_count(tmp_path: Path) -> None:
    two = np.stack([GREY, 255 - GREY])
    np.testing.assert_array_equal(pixels(tmp_path, tiff(two, photometric="minisblack", planarconfig="separate")), GREY)
    five = np.dstack([GREY, *[255 - GREY] * 4]).astype(np.uint16)
    data = tiff(five, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(pixels(tmp_path, data, decoding=EXACT), deep(five[..., 0]))


def test_alpha_of_16_bits_is_composited_on_black(tmp_path: Path) -> None:
    rgba = np.dstack([COLOUR, GREY]).astype(np.uint16) * 257
    ours = pixels(tmp_path, tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]))
    assert np.abs(ours - LUMA.astype(float) * GREY / 255).max() <= 1
    multiplied = pixels(tmp_path, tiff(rgba, photometric="rgb", extrasamples=["assocalpha"]))
    np.testing.assert_array_equal(multiplied, LUMA)


@pytest.mark.parametrize(
    "options",
    [
        {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}, {"ome": True}, {"imagej": True, "photometric": None},
        {"truncate": True}, {"volumetric": True, "tile": (16, 16, 16)},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_several_pictures(tmp_path: Path, options: dict[str, Any], dtype: str) -> None:
    stack = np.stack([np.roll(GREY, shift, 0) for shift in range(16)]).astype(dtype)
    got = frames(tmp_path, tiff(stack, **{"photometric": "minisblack", **options}), decoding=EXACT)
    assert len(got) == 16
    for frame, picture in zip(got, stack, strict=True):
        np.testing.assert_array_equal(frame.pixels, picture if dtype == "u1" else deep(picture))


def test_smaller_copies_of_a_picture_are_left_out(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(GREY, photometric="minisblack")
        writer.write(GREY[::2, ::2], photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(pixels(tmp_path, buffer.getvalue()), GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path: Path, orientation: int) -> None:
    turned = {
        1: GREY, 2: GREY[:, ::-1], 3: GREY[::-1, ::-1], 4: GREY[::-1], 5: GREY.T,
        6: np.rot90(GREY, -1), 7: GREY[::-1, ::-1].T, 8: np.rot90(GREY),
    }  # fmt: skip
    values = GREY.astype(np.uint16)
    ours = pixels(tmp_path, tiff(values, extratags=[(274, 3, 1, orientation, True)]), decoding=EXACT)
    np.testing.assert_array_equal(ours, deep(turned[orientation].astype(np.uint16)))


def test_colour_of_fewer_pixels_than_brightness(tmp_path: Path) -> None:
    """Uncompressed YCbCr 4:2:0, which libtiff renders: blocks of four Y, Cb, Cr."""
    blocks = GREY.reshape(24, 2, 28, 2).transpose(0, 2, 1, 3).reshape(-1, 4)
    data = np.hstack([blocks, np.full((len(blocks), 2), 128, np.uint8)]).tobytes()
    tags = [(256, 3, 1, 56), (257, 3, 1, 48), (258, 3, 3, 0), (259, 3, 1, 1), (262, 3, 1, 6), (273, 4, 1, 8), (277, 3, 1, 3),
            (278, 3, 1, 48), (279, 4, 1, len(data)), (530, 3, 2, 2 | 2 << 16)]  # fmt: skip
    bits_at = 8 + len(data)
    tags[2] = (258, 3, 3, bits_at)
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    file = b"II*\0" + struct.pack("<L", bits_at + 6) + data + struct.pack("<3H", 8, 8, 8) + directory + bytes(4)
    assert np.abs(pixels(tmp_path, file).astype(int) - GREY).max() <= 1


def test_what_is_no_picture_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(BadPixels, match="not real numbers"):
        pixels(tmp_path, tiff(GREY.astype(np.complex64)))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"compression": "lzw", "predictor": True}])
def test_cut_short_is_never_taken(tmp_path: Path, options: dict[str, Any]) -> None:
    values = GREY.astype(np.uint16)
    data = tiff(values, **options)
    whole = pixels(tmp_path, data)
    for cut in range(1, len(data), max(1, len(data) // 80)):
        try:
            got = frames(tmp_path, data[:cut])
        except ImageError:
            continue
        assert [frame.pixels.tolist() for frame in got] == [whole.tolist()]
