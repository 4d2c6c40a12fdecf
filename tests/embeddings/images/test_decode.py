"""Decoding: every kind of file is made here, and held against Pillow or NumPy."""

import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding, frame_name
from embeddings.images.errors import BadPixels, EmptyFile, ImageError, NotAnImage, TooManyPixels, Truncated, Unreadable
from embeddings.images.find import find
from embeddings.images.windowing import window, window_limits
from tests.helpers.pictures import COLOUR, DEEP, EXACT, GREY, encoded, frames, half_up, luma, pixels

# 8 bits


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
def test_grey_passes_untouched(tmp_path: Path, fmt: str) -> None:
    data = encoded(GREY, fmt)
    ours = pixels(tmp_path, data)
    image = Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(ours, luma(image))
    assert imagehash.phash(Image.fromarray(ours), 16) == imagehash.phash(image, 16)


@pytest.mark.parametrize("options", [{"lossless": True}, {}])
def test_webp_is_grey_of_its_rgb(tmp_path: Path, options: dict[str, Any]) -> None:
    data = encoded(COLOUR, "WEBP", **options)
    np.testing.assert_array_equal(pixels(tmp_path, data), luma(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(
    ("mode", "fmt"),
    [
        ("RGB", "PNG"),
        ("RGB", "JPEG"),
        ("1", "PNG"),
        ("1", "TIFF"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("P", "PNG"),
        ("P", "BMP"),
    ],
)
def test_colour_equals_pillow(tmp_path: Path, mode: str, fmt: str) -> None:
    data = encoded(Image.fromarray(COLOUR).convert(mode), fmt)
    (frame,) = frames(tmp_path, data)
    assert frame.mode == mode
    np.testing.assert_array_equal(frame.pixels, luma(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_alpha_is_composited_on_black(tmp_path: Path, mode: str, fmt: str) -> None:
    image = Image.fromarray(COLOUR).convert(mode)
    image.putalpha(Image.fromarray(GREY))
    black = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    ours = pixels(tmp_path, encoded(image, fmt))
    assert np.abs(ours.astype(int) - luma(black)).max() <= 1  # Pillow rounds before the luma, we after
    opaque = Image.fromarray(COLOUR).convert(mode)
    opaque.putalpha(255)
    np.testing.assert_array_equal(pixels(tmp_path, encoded(opaque, fmt)), luma(opaque))


def test_transparent_palette_entry_is_black(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8) % 3, "P")
    image.putpalette([255, 255, 255, 100, 100, 100, 50, 50, 50])
    ours = pixels(tmp_path, encoded(image, "PNG", transparency=0))
    np.testing.assert_array_equal(ours, np.array([0, 100, 50])[np.asarray(image)])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation(tmp_path: Path, fmt: str, orientation: int) -> None:
    turned = {
        1: GREY, 2: GREY[:, ::-1], 3: GREY[::-1, ::-1], 4: GREY[::-1], 5: GREY.T,
        6: np.rot90(GREY, -1), 7: GREY[::-1, ::-1].T, 8: np.rot90(GREY),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    ours = pixels(tmp_path, encoded(GREY, fmt, exif=exif, **({"lossless": True} if fmt == "WEBP" else {})))
    np.testing.assert_array_equal(ours, turned[orientation])


def test_broken_exif_does_not_lose_the_image(tmp_path: Path) -> None:
    np.testing.assert_array_equal(pixels(tmp_path, encoded(GREY, "PNG", exif=b"Exif\0\0garbage in here")), GREY)


def test_icc_profile_is_not_applied(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(pixels(tmp_path, encoded(GREY, "PNG", icc_profile=profile)), GREY)


def test_interlaced_png(tmp_path: Path) -> None:
    """Adam7 by hand: Pillow does not write it."""
    passes = [GREY[y::dy, x::dx] for x, y, dx, dy in
              [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]]  # fmt: skip
    raw = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    np.testing.assert_array_equal(pixels(tmp_path, png(56, 48, raw, interlace=1)), GREY)


def png(width: int, height: int, raw: bytes, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("fmt", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {})])
def test_every_frame_of_an_animation(tmp_path: Path, fmt: str, options: dict[str, Any]) -> None:
    pictures = [Image.fromarray(np.roll(GREY, 7 * shift, 0)) for shift in range(4)]
    got = frames(tmp_path, encoded(pictures[0], fmt, save_all=True, append_images=pictures[1:], **options))
    assert len(got) == 4
    for frame, picture in zip(got, pictures, strict=True):
        np.testing.assert_array_equal(frame.pixels, np.asarray(picture))


def test_frame_names() -> None:
    assert frame_name("b/a.tif", 0, 1) == "b/a.tif"
    assert frame_name("b/a.tif", 3, 4) == "b/a.tif#3"
    assert frame_name("a\udcff.tif", 0, 2) == r"a\xff.tif#0"


# Deeper than 8 bits


@pytest.mark.parametrize(("fmt", "mode"), [("PNG", "I;16"), ("TIFF", "uint16")])
def test_16_bit_is_windowed_by_percentiles(tmp_path: Path, fmt: str, mode: str) -> None:
    low, high = np.quantile(DEEP, (0.005, 0.995))
    (frame,) = frames(tmp_path, encoded(DEEP, fmt))
    assert frame.mode == mode
    np.testing.assert_array_equal(frame.pixels, half_up(DEEP, low, high))
    assert frame.pixels.max() == 255
    assert frame.pixels.min() == 0
    assert len(np.unique(frame.pixels)) > 100


@pytest.mark.parametrize("values", [DEEP.astype(np.int32) - 2000, DEEP.astype(np.float32) / 7 - 50], ids=["int32", "float32"])
def test_32_bit_tiff(tmp_path: Path, values: NDArray[Any]) -> None:
    np.testing.assert_array_equal(
        pixels(tmp_path, encoded(values, "TIFF"), decoding=EXACT), half_up(values, values.min(), values.max())
    )


def tiff(values: NDArray[Any], sample_format: int, photometric: int = 1) -> bytes:
    """An uncompressed TIFF with one strip, for what Pillow does not write."""
    height, width = values.shape
    data = values.tobytes()
    tags = [(256, width), (257, height), (258, 8 * values.itemsize), (259, 1), (262, photometric), (273, 8), (277, 1),
            (278, height), (279, len(data)), (339, sample_format)]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<L", 8 + len(data)) + data + directory + struct.pack("<L", 0)


def test_tiff_integer_kinds(tmp_path: Path) -> None:
    signed = DEEP.astype(np.int16) - 1500
    np.testing.assert_array_equal(pixels(tmp_path, tiff(signed, 2), decoding=EXACT), half_up(signed, signed.min(), signed.max()))
    huge = DEEP.astype(np.uint32) * 1_300_000  # above 2**31, which Pillow hands out as negative
    assert huge.max() > 2**31
    np.testing.assert_array_equal(pixels(tmp_path, tiff(huge, 1), decoding=EXACT), half_up(huge, huge.min(), huge.max()))


def test_white_is_zero_is_inverted(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        pixels(tmp_path, tiff(DEEP, 1, 0), decoding=EXACT), 255 - pixels(tmp_path, tiff(DEEP, 1, 1), decoding=EXACT)
    )


def test_fixed_window_of_deep_data_only(tmp_path: Path) -> None:
    decoding = Decoding(centre=1000, width=400)
    np.testing.assert_array_equal(pixels(tmp_path, encoded(DEEP, "PNG"), decoding=decoding), half_up(DEEP, 800, 1200))
    np.testing.assert_array_equal(pixels(tmp_path, encoded(GREY, "PNG"), decoding=decoding), GREY)


def test_not_finite_pixels(tmp_path: Path) -> None:
    values = DEEP.astype(np.float32)
    values[0, :4] = np.nan, np.inf, -np.inf, np.nan
    ours = pixels(tmp_path, encoded(values, "TIFF"), decoding=EXACT)
    assert ours[0, :4].tolist() == [0, 255, 0, 0]
    finite = values[np.isfinite(values)]
    np.testing.assert_array_equal(ours[1:], half_up(values[1:], finite.min(), finite.max()))
    with pytest.raises(BadPixels, match="no pixel has a finite value"):
        pixels(tmp_path, encoded(np.full((4, 4), np.nan, np.float32), "TIFF"))


def test_constant_frame_is_zero_and_rare_structure_is_kept(tmp_path: Path) -> None:
    flat = np.full((40, 40), 1234, np.uint16)
    assert not pixels(tmp_path, encoded(flat, "PNG")).any()
    flat[0, 0] = 2000
    assert pixels(tmp_path, encoded(flat, "PNG")).sum() == 255


def test_window_rounds_half_up() -> None:
    values = np.array([-1, 0, 0.5, 1, 1.5, 2.5, 254.49, 254.5, 999, np.nan])
    assert window(values, 0, 255).tolist() == [0, 0, 1, 1, 2, 3, 254, 255, 255, 0]
    with pytest.raises(BadPixels):
        window(values, -1.7e308, 1.7e308)
    with pytest.raises(BadPixels, match="complex64"):
        window_limits(np.zeros(3, np.complex64), Decoding())


def test_16_bit_grey_with_alpha_is_refused(tmp_path: Path) -> None:
    raw = (b"\0" + struct.pack(">HH", 1353, 65535) * 8) * 8
    with pytest.raises(BadPixels, match="low byte"):
        pixels(tmp_path, png(8, 8, raw, depth=16, colour=4))


# Bad files


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a.nii", "a.nii.gz", "a.jpg", "a"])
def test_empty_and_foreign_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(EmptyFile):
        frames(tmp_path, b"", name)
    with pytest.raises(NotAnImage) as caught:
        frames(tmp_path, b"BMW is a car, and this is a text about it.\n" * 30, name)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.mend


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    np.testing.assert_array_equal(pixels(tmp_path, encoded(GREY, "BMP"), "a.dcm"), GREY)


@pytest.mark.parametrize(
    ("fmt", "options"),
    [
        ("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}), ("WEBP", {}), ("WEBP", {"lossless": True}), ("GIF", {}), ("BMP", {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("count", [1, 3])
def test_truncated_is_an_error_or_complete(tmp_path: Path, fmt: str, options: dict[str, Any], count: int) -> None:
    """At many offsets, with warnings as a user has them (shown, not raised)."""
    if count > 1 and fmt in ("JPEG", "BMP"):
        pytest.skip("one frame only")
    pictures = [Image.fromarray(np.roll(COLOUR, 5 * shift, 0)) for shift in range(count)]
    more = {"save_all": True, "append_images": pictures[1:]} if count > 1 else {}
    data = encoded(pictures[0], fmt, **options, **more)
    whole = [frame.pixels for frame in frames(tmp_path, data)]
    assert len(whole) == count
    cuts = {*range(1, 40), *range(40, len(data), max(len(data) // 60, 1)), *range(len(data) - 30, len(data))}
    complete = 0
    for cut in sorted(cuts):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                got = frames(tmp_path, data[:cut])
        except (NotAnImage, Truncated, BadPixels):
            continue
        complete += 1
        assert len(got) == count
        for frame, expected in zip(got, whole, strict=True):
            np.testing.assert_array_equal(frame.pixels, expected)
    assert complete <= 30
    assert complete == 0 or fmt in ("PNG", "TIFF")  # they hold checksums and tags of no weight at their end


def test_jpeg_without_its_end_is_never_taken(tmp_path: Path) -> None:
    """Pillow takes about one in thirty of these."""
    rng = np.random.default_rng(0)
    for shape in rng.integers(1, 60, (200, 2)):
        data = encoded(rng.integers(0, 256, shape).astype(np.uint8), "JPEG", quality=int(rng.integers(10, 98)))
        for cut in (1, 2):
            with pytest.raises(Truncated):
                frames(tmp_path, data[:-cut])


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}])
def test_tiff_pages_are_not_lost(tmp_path: Path, options: dict[str, Any]) -> None:
    """At every offset: cut inside a directory, Pillow takes the pages and tags that are left."""
    pictures = [Image.fromarray(np.roll(GREY[:8, :8], shift, 0)) for shift in range(3)]
    data = encoded(pictures[0], "TIFF", save_all=True, append_images=pictures[1:], **options)
    for cut in range(1, len(data)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                got = frames(tmp_path, data[:cut])
            except ImageError:
                continue
        assert [frame.pixels.tolist() for frame in got] == [np.asarray(picture).tolist() for picture in pictures]


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"])
def test_flipped_bytes_never_raise_anything_else(tmp_path: Path, fmt: str) -> None:
    data = encoded(COLOUR, fmt)
    rng = np.random.default_rng(1)
    failed = 0
    for _ in range(150):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[rng.integers(0, min(len(damaged), 600), 4)] = rng.integers(0, 256, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                frames(tmp_path, damaged.tobytes(), decoding=Decoding(max_pixels=1_000_000))
            except ImageError:
                failed += 1
    assert failed


def test_max_pixels_is_checked_before_decoding(tmp_path: Path) -> None:
    assert pixels(tmp_path, encoded(GREY, "PNG"), decoding=Decoding(max_pixels=48 * 56)).size == 48 * 56
    for fmt in ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"):
        with pytest.raises(TooManyPixels, match="56 x 48"):
            frames(tmp_path, encoded(GREY, fmt), decoding=Decoding(max_pixels=48 * 56 - 1))


@pytest.mark.parametrize("side", [9_700, 12_000, 40_000])  # below our limit and above Pillow's warning; its warning; its error
def test_png_bomb(tmp_path: Path, side: int) -> None:
    """Under -W error a warning of Pillow's would come out as another text; the rows are missing, so nothing big is decoded."""
    with pytest.raises(Truncated if side < 10_000 else TooManyPixels, match="cut short" if side < 10_000 else f"{side} x {side}"):
        frames(tmp_path, png(side, side, b""))


def test_gif_frame_that_grows_the_picture(tmp_path: Path) -> None:
    data = bytearray(encoded(GREY, "GIF"))
    place = data.index(b"\x2c" + bytes(4) + struct.pack("<HH", 56, 48))
    data[place + 1 : place + 5] = b"\xff\xff\xff\xff"
    with pytest.raises(TooManyPixels):
        frames(tmp_path, bytes(data))


def test_memory_error_and_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        next(decode(tmp_path / "gone.png", Decoding()))
    with pytest.raises(Unreadable, match="not a regular file"):
        next(decode(tmp_path, Decoding()))
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(Unreadable, match="symbolic links"):
        next(decode(tmp_path / "loop.png", Decoding()))

    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("embeddings.images.formats.grey", exhausted)
    with pytest.raises(TooManyPixels, match="memory"):
        frames(tmp_path, encoded(GREY, "PNG"))


def test_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(Unreadable, match="not a regular file"):
        next(decode(tmp_path / "a.png", Decoding()))
    assert find(tmp_path).broken == (("a.png", "not a regular file"),)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(GREY, "PNG"))
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(Unreadable, match="Permission denied"):
        next(decode(tmp_path / "a.png", Decoding()))
    (tmp_path / "shut").mkdir(mode=0)
    assert find(tmp_path).broken == (("shut", "Permission denied"),)


def test_threads_agree(tmp_path: Path) -> None:
    wanted = {}
    for index in range(12):
        picture = np.roll(DEEP if index % 2 else GREY, index, 0)
        (tmp_path / f"{index}.png").write_bytes(encoded(picture, "PNG"))
        wanted[index] = next(decode(tmp_path / f"{index}.png", Decoding())).pixels
    wrong: list[int] = []

    def work() -> None:
        for index, expected in wanted.items():
            if not np.array_equal(next(decode(tmp_path / f"{index}.png", Decoding())).pixels, expected):
                wrong.append(index)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "bad",
    [{"low": 50, "high": 50}, {"low": -1}, {"high": 101}, {"low": float("nan")}, {"centre": 1}, {"width": 1}, {"axis": 3},
     {"centre": 1, "width": 0}, {"centre": float("inf"), "width": 1}, {"max_pixels": 0}],
)  # fmt: skip
def test_decoding_is_validated(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="got"):
        Decoding(**bad)


def test_decoding_as_dict() -> None:
    decoding = Decoding(low=1, high=99, centre=-600, width=1500)
    assert Decoding(**decoding.as_dict()) == decoding
    assert all(type(decoding.as_dict()[name]) is float for name in ("low", "high", "centre", "width"))
