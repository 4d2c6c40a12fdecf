"""Finding and decoding: every kind of file is made here, and held against Pillow, NumPy or the standard's formula."""

import gzip
import io
import os
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from embeddings.images import (
    SUFFIXES,
    BadPixels,
    Decoding,
    EmptyFile,
    Frame,
    ImageError,
    MissingExtra,
    NoImages,
    NotAnImage,
    TooManyPixels,
    Truncated,
    Unreadable,
    decode,
    find,
    frame_name,
    limits,
    printable,
    window,
)

RNG = np.random.default_rng(0)
GREY = (np.kron(RNG.integers(0, 200, (6, 7)), np.ones((8, 8))) + RNG.integers(0, 50, (48, 56))).astype(np.uint8)
COLOUR = np.dstack([GREY, 255 - GREY, np.roll(GREY, 9, 1)])
DEEP = GREY.astype(np.uint16) * 11 + 300  # a 12-bit range
EXACT = Decoding(low=0, high=100)


def encoded(image: NDArray[Any] | Image.Image, fmt: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, fmt, **options)
    return buffer.getvalue()


def frames(folder: Path, data: bytes, name: str = "a.bin", decoding: Decoding | None = None) -> list[Frame]:
    path = folder / name
    path.write_bytes(data)
    return list(decode(path, decoding or Decoding()))


def pixels(folder: Path, data: bytes, name: str = "a.bin", decoding: Decoding | None = None) -> NDArray[np.uint8]:
    (frame,) = frames(folder, data, name, decoding)
    assert frame.pixels.dtype == np.uint8 and frame.pixels.flags.c_contiguous and frame.pixels.flags.writeable
    return frame.pixels


def luma(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("L"))


def half_up(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """The window of a frame without NaN, written as its definition."""
    return np.clip(np.floor((values.astype(np.float64) - low) * 255 / (high - low) + 0.5), 0, 255).astype(np.uint8)


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


@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_16_bit_is_windowed_by_percentiles(tmp_path: Path, fmt: str) -> None:
    low, high = np.quantile(DEEP, (0.005, 0.995))
    (frame,) = frames(tmp_path, encoded(DEEP, fmt))
    assert frame.mode == "I;16"
    np.testing.assert_array_equal(frame.pixels, half_up(DEEP, low, high))
    assert frame.pixels.max() == 255 and frame.pixels.min() == 0 and len(np.unique(frame.pixels)) > 100


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
        limits(np.zeros(3, np.complex64), Decoding())


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
    assert str(tmp_path) not in str(caught.value) and "\n" not in str(caught.value) and caught.value.mend


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
        except ImageError as error:
            assert isinstance(error, NotAnImage | Truncated | BadPixels)
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

    monkeypatch.setattr("embeddings.images.grey", exhausted)
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


# DICOM


def dicom(
    values: NDArray[Any], photometric: str = "MONOCHROME2", frames: int = 1, bits: int | None = None, **attributes: Any
) -> bytes:
    """A secondary capture of the values: (H, W), (F, H, W) or (H, W, 3)."""
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    colour = values.ndim == 3 and frames == 1
    dataset.Rows, dataset.Columns = values.shape[:2] if colour else values.shape[-2:]
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 * values.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OB" if values.itemsize == 1 else "OW"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


HU = DEEP.astype(np.int16) - 1100
CT: dict[str, Any] = {"RescaleSlope": "2", "RescaleIntercept": "-100"}


def linear(values: NDArray[Any], centre: float, width: float) -> NDArray[np.uint8]:
    """PS3.3 C.11.2.1.2.1, literally."""
    x = values.astype(np.float64)
    y = ((x - (centre - 0.5)) / (width - 1) + 0.5) * 255
    y[x <= centre - 0.5 - (width - 1) / 2] = 0
    y[x > centre - 0.5 + (width - 1) / 2] = 255
    return np.floor(y + 0.5).astype(np.uint8)


def test_dicom_percentiles_after_rescale(tmp_path: Path) -> None:
    values = HU * 2.0 - 100
    low, high = np.quantile(values, (0.005, 0.995))
    (frame,) = frames(tmp_path, dicom(HU, **CT), "IM0001")
    assert frame.mode == "MONOCHROME2"
    np.testing.assert_array_equal(frame.pixels, half_up(values, low, high))


def test_dicom_own_window_is_the_standards(tmp_path: Path) -> None:
    data = dicom(HU, **CT, WindowCenter=["-40", "300"], WindowWidth=["400", "1500"])
    np.testing.assert_array_equal(pixels(tmp_path, data), linear(HU * 2.0 - 100, -40, 400))
    exact = dicom(HU, **CT, WindowCenter="-40", WindowWidth="400", VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_array_equal(pixels(tmp_path, exact), half_up(HU * 2.0 - 100, -240, 160))


def test_dicom_given_window_comes_first(tmp_path: Path) -> None:
    data = dicom(HU, **CT, WindowCenter="40", WindowWidth="400")
    decoding = Decoding(centre=-600, width=1500)
    np.testing.assert_array_equal(pixels(tmp_path, data, decoding=decoding), half_up(HU * 2.0 - 100, -1350, 150))


def test_dicom_monochrome1_is_inverted(tmp_path: Path) -> None:
    np.testing.assert_array_equal(pixels(tmp_path, dicom(HU, "MONOCHROME1")), 255 - pixels(tmp_path, dicom(HU)))


def test_dicom_8_bit_passes_untouched(tmp_path: Path) -> None:
    np.testing.assert_array_equal(pixels(tmp_path, dicom(GREY)), GREY)
    np.testing.assert_array_equal(pixels(tmp_path, dicom(GREY // 2, bits=7)), half_up(GREY // 2, 0, 127))


def test_dicom_frames_with_their_own_window(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    groups = []
    for centre in (0, 200):
        voi, group = pydicom.Dataset(), pydicom.Dataset()
        voi.WindowCenter, voi.WindowWidth = centre, 300
        group.FrameVOILUTSequence = [voi]
        groups.append(group)
    shared, transform = pydicom.Dataset(), pydicom.Dataset()
    transform.RescaleSlope, transform.RescaleIntercept = 1, 7
    shared.PixelValueTransformationSequence = [transform]
    stack = np.stack([HU, HU[::-1]])
    sequences: dict[str, Any] = {"PerFrameFunctionalGroupsSequence": groups, "SharedFunctionalGroupsSequence": [shared]}
    first, second = frames(tmp_path, dicom(stack, frames=2, **sequences))
    np.testing.assert_array_equal(first.pixels, linear(HU + 7, 0, 300))
    np.testing.assert_array_equal(second.pixels, linear(HU[::-1] + 7, 200, 300))


def test_dicom_colour(tmp_path: Path) -> None:
    expected = luma(Image.fromarray(COLOUR))
    np.testing.assert_array_equal(pixels(tmp_path, dicom(COLOUR, "RGB")), expected)
    ybr = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    assert np.abs(pixels(tmp_path, dicom(ybr, "YBR_FULL")).astype(int) - expected).max() <= 2
    np.testing.assert_array_equal(pixels(tmp_path, dicom(COLOUR.astype(np.uint16) << 4, "RGB", bits=12)), expected)


def test_dicom_palette(tmp_path: Path) -> None:
    table = np.arange(256, dtype=np.uint16) << 8
    descriptor = [256, 0, 16]
    lut: dict[str, Any] = {}
    for colour, entries in zip(("Red", "Green", "Blue"), (table, table[::-1], table), strict=True):
        lut[f"{colour}PaletteColorLookupTableDescriptor"] = descriptor
        lut[f"{colour}PaletteColorLookupTableData"] = entries.tobytes()
    expected = luma(Image.fromarray(np.dstack([GREY, 255 - GREY, GREY])))
    np.testing.assert_array_equal(pixels(tmp_path, dicom(GREY, "PALETTE COLOR", **lut)), expected)


def test_dicom_modality_lut(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    lut = pydicom.Dataset()
    lut.LUTDescriptor = [256, 0, 16]
    lut.ModalityLUTType = "US"
    table = (np.arange(256, dtype=np.uint16) ** 2)[:]
    lut.LUTData = table.tobytes()
    lut["LUTData"].VR = "OW"
    data = dicom(GREY, ModalityLUTSequence=[lut])
    np.testing.assert_array_equal(
        pixels(tmp_path, data, decoding=EXACT), half_up(table[GREY], *np.sort(table[GREY], axis=None)[[0, -1]])
    )


def test_dicom_padding_is_not_seen_by_percentiles(tmp_path: Path) -> None:
    padded = HU.copy()
    padded[:10] = -2000
    ours = pixels(tmp_path, dicom(padded, PixelPaddingValue=-2000), decoding=EXACT)
    np.testing.assert_array_equal(ours, half_up(padded, padded[10:].min(), padded[10:].max()))


def test_dicom_rle_decodes_without_a_plugin(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.dcmread(io.BytesIO(dicom(HU)))
    dataset.compress(pydicom.uid.RLELossless)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    np.testing.assert_array_equal(pixels(tmp_path, buffer.getvalue()), pixels(tmp_path, dicom(HU)))


def test_dicom_without_preamble_goes_by_its_suffix(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    data = dicom(HU)
    dataset = pydicom.dcmread(io.BytesIO(data))
    del dataset.file_meta
    dataset.preamble = None
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=True, little_endian=True)
    assert buffer.getvalue()[128:132] != b"DICM"
    np.testing.assert_array_equal(pixels(tmp_path, buffer.getvalue(), "a.dcm"), pixels(tmp_path, data))


def test_bad_dicom(tmp_path: Path) -> None:
    data = dicom(HU)
    with pytest.raises(TooManyPixels, match="56 x 48"):
        frames(tmp_path, data, decoding=Decoding(max_pixels=100))
    with pytest.raises(Truncated, match="less than expected"):
        frames(tmp_path, data[:-100])
    with pytest.raises(BadPixels, match="no pixels"):
        frames(tmp_path, data[:400])
    for syntax, text in (("1.2.840.10008.1.2.1.99", "Deflated"), ("1.2.840.10008.1.2.4.100", "MPEG2")):
        value = (syntax + "\0" * (len(syntax) % 2)).encode()
        other = data.replace(b"\x14\x001.2.840.10008.1.2.1\0", struct.pack("<H", len(value)) + value)
        assert other != data
        with pytest.raises(BadPixels, match=text):
            frames(tmp_path, other)
    rng = np.random.default_rng(2)
    for cut in (*range(1, len(data), 173), *range(len(data) - 4, len(data))):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[rng.integers(132, 1000, 4)] = rng.integers(0, 256, 4)
        for hostile in (data[:cut], damaged.tobytes()):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    frames(tmp_path, hostile, "a.dcm", Decoding(max_pixels=1_000_000))
                except ImageError:
                    continue
            assert hostile is not data[:cut] or cut == len(data)


# NIfTI


VOLUME: NDArray[np.int16] = np.random.default_rng(3).integers(-1000, 2000, (5, 6, 7)).astype(np.int16)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def nifti(values: NDArray[Any], affine: NDArray[Any] | None = None, compress: bool = False) -> bytes:
    nibabel = pytest.importorskip("nibabel")
    data: bytes = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine).to_bytes()
    return gzip.compress(data) if compress else data


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII"])
def test_nifti_axial_slices_look_as_in_dicom(tmp_path: Path, name: str) -> None:
    """A volume stored in DICOM's own directions (LPS) comes out as its planes, rows to the back, columns to the left."""
    low, high = np.quantile(VOLUME, (0.005, 0.995))
    got = frames(tmp_path, nifti(VOLUME, LPS, name.endswith("gz")), name)
    assert [frame.mode for frame in got] == ["int16"] * 7
    for index, frame in enumerate(got):
        np.testing.assert_array_equal(frame.pixels, half_up(VOLUME[:, :, index].T, low, high))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_nifti_order_of_storage_does_not_matter(tmp_path: Path, axis: int) -> None:
    decoding = Decoding(axis=axis)
    one = frames(tmp_path, nifti(VOLUME), "a.nii", decoding)
    shuffled = VOLUME.transpose(2, 0, 1)[:, ::-1, :]
    affine = np.array([[0, -1, 0, 4], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    other = frames(tmp_path, nifti(np.ascontiguousarray(shuffled), affine), "b.nii", decoding)
    assert len(one) == VOLUME.shape[axis]
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine.pixels, theirs.pixels)
    plane = np.flip(np.take(VOLUME, 2, axis)).T
    np.testing.assert_array_equal(one[2].pixels, half_up(plane, *np.quantile(VOLUME, (0.005, 0.995))))


@pytest.mark.parametrize("compress", [False, True])
def test_nifti_volumes_in_turn(tmp_path: Path, compress: bool) -> None:
    series = np.stack([VOLUME, VOLUME * 3, VOLUME[::-1]], axis=3)
    got = frames(tmp_path, nifti(series, compress=compress), "a.nii.gz" if compress else "a.nii")
    single = [frame for part in range(3) for frame in frames(tmp_path, nifti(series[..., part]), "b.nii")]
    assert len(got) == 21
    for mine, theirs in zip(got, single, strict=True):
        np.testing.assert_array_equal(mine.pixels, theirs.pixels)


def test_nifti_other_kinds(tmp_path: Path) -> None:
    eight = (VOLUME % 256).astype(np.uint8)
    np.testing.assert_array_equal(frames(tmp_path, nifti(eight, LPS), "a.nii")[1].pixels, eight[:, :, 1].T)
    fixed = frames(tmp_path, nifti(VOLUME, LPS), "a.nii", Decoding(centre=0, width=100))
    np.testing.assert_array_equal(fixed[1].pixels, half_up(VOLUME[:, :, 1].T, -50, 50))
    assert frames(tmp_path, nifti(VOLUME[:, :, 0]), "a.nii")[0].pixels.shape == (6, 5)
    rgb = np.zeros((5, 6, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["G"] = 200
    assert np.unique(frames(tmp_path, nifti(rgb), "a.nii")[1].pixels).tolist() == [
        luma(Image.new("RGB", (1, 1), (0, 200, 0)))[0, 0]
    ]


def test_bad_nifti(tmp_path: Path) -> None:
    data = nifti(VOLUME)
    with pytest.raises(Truncated):
        frames(tmp_path, data[:-10], "a.nii")
    with pytest.raises(Truncated):
        frames(tmp_path, nifti(np.tile(VOLUME, (1, 1, 9)), compress=True)[:-40], "a.nii.gz")
    with pytest.raises(BadPixels, match="affine"):
        frames(tmp_path, data[:280] + struct.pack("<12f", *[np.nan] * 12) + data[328:], "a.nii")  # the sform
    with pytest.raises(BadPixels, match="finite"):
        frames(tmp_path, nifti(np.full((2, 2, 2), np.nan, np.float32)), "a.nii")
    with pytest.raises(BadPixels, match="complex64"):
        frames(tmp_path, nifti(np.zeros((2, 2, 2), np.complex64)), "a.nii")
    with pytest.raises(TooManyPixels, match="5 x 6"):
        frames(tmp_path, data, "a.nii", Decoding(max_pixels=29))
    with pytest.raises(TooManyPixels, match="voxels"):
        frames(tmp_path, nifti(np.zeros((2, 2, 100), np.uint8), compress=True), "a.nii.gz", Decoding(max_pixels=20))
    rng = np.random.default_rng(4)
    for cut in range(1, len(data), 61):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[rng.integers(0, 352, 4)] = rng.integers(0, 256, 4)
        for hostile in (data[:cut], damaged.tobytes()):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    frames(tmp_path, hostile, "a.nii", Decoding(max_pixels=100_000))
                except ImageError:
                    continue
            assert hostile is not data[:cut]


@pytest.mark.parametrize(
    ("module", "name", "head"), [("pydicom", "a.dcm", bytes(128) + b"DICM"), ("nibabel", "a.nii", bytes(400))]
)
def test_missing_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, head: bytes) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"pip install 'synthtrace\[medical\]'"):
        frames(tmp_path, head, name)


def test_medical_packages_are_imported_late() -> None:
    import subprocess

    code = "import sys, embeddings.images; print([name for name in ('pydicom', 'nibabel') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    )
    assert done.stdout.strip() == "[]"


# Finding


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_find_in_a_folder(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.PNG",
        "a.jpeg",
        "d/e/c.nii.gz",
        "é.Tif",
        "Z.webp",
        "notes.txt",
        "x.gz",
        ".hidden.png",
        "__MACOSX/a.png",
        "d/.git/a.png",
    )
    source = find(tmp_path)
    assert source.root == tmp_path and source.broken == ()
    assert source.files == ("Z.webp", "a.jpeg", "b.PNG", "d/e/c.nii.gz", "é.Tif")
    assert source.ignored == 5  # two files, the hidden one, and two hidden folders


def test_every_suffix_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a{suffix}" for suffix in SUFFIXES))
    assert len(find(tmp_path).files) == len(SUFFIXES)


def test_find_dicom_without_suffix(tmp_path: Path) -> None:
    for name in ("IM0001", "1.2.840.113619", "DICOMDIR", "a.bak"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM")
    touch(tmp_path, "README", "1.2.3")
    source = find(tmp_path)
    assert source.files == ("1.2.840.113619", "IM0001") and source.ignored == 4


def test_named_files_are_taken_whatever_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.dat", "a/y.png", "b/z.png", "a/.h.png")
    source = find(tmp_path / "a/x.dat")
    assert source.root == tmp_path / "a" and source.files == ("x.dat",)
    source = find(str(tmp_path / "b"), tmp_path / "a", tmp_path / "a/x.dat", tmp_path / "a/y.png")
    assert source.root == tmp_path and source.files == ("a/x.dat", "a/y.png", "b/z.png") and source.ignored == 1


def test_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "l/a.dat", "l/s/b.png", "l/s/c.png", "w/d.png")
    (tmp_path / "l/list.txt").write_bytes(b"\xef\xbb\xbfa.dat\r\n\ns/b.png\ns\ngone.png\ns/b.png\nbad\0name\n")
    source = find(f"@{tmp_path}/l/list.txt")
    assert source.root == tmp_path / "l" and source.files == ("a.dat", "s/b.png", "s/c.png")
    assert [name for name, _ in source.broken] == ["bad\0name", "gone.png"]
    assert source.broken[1][1] == "No such file or directory"
    monkeypatch.chdir(tmp_path / "w")
    source = find("-", stdin=io.StringIO("d.png\n../l/a.dat"))
    assert source.root == tmp_path and source.files == ("l/a.dat", "w/d.png")
    with pytest.raises(NoImages, match=r"none\.txt: the list of images cannot be read: No such file"):
        find(f"@{tmp_path}/none.txt")


def test_links(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png", "other/b.png", "other/c.txt")
    (tmp_path / "in/link").symlink_to(tmp_path / "other")
    (tmp_path / "in/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/dead.png").symlink_to("nowhere")
    (tmp_path / "in/self.png").symlink_to("self.png")
    (tmp_path / "in/dead.txt").symlink_to("nowhere")
    source = find(tmp_path / "in")
    assert source.files == ("a.png", "link/b.png") and source.ignored == 2
    assert dict(source.broken) == {
        "dead.png": "No such file or directory",
        "self.png": "Too many levels of symbolic links",
        "up": "link loop: leads back to a folder that it lies in",
    }


def test_nothing_found(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt")
    with pytest.raises(NoImages, match=r"no image found among 1 other files; looked for \.png .* \.nii\.gz") as caught:
        find(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(NoImages, match=r"gone: no such file or folder"):
        find(tmp_path / "gone")
    with pytest.raises(NoImages, match="no folder or file was given"):
        find()


@pytest.fixture
def odd_name(tmp_path: Path) -> Iterator[str]:
    try:
        (tmp_path / os.fsdecode(b"\xffa.png")).write_bytes(encoded(GREY, "PNG"))
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    yield os.fsdecode(b"\xffa.png")


def test_names_that_are_not_utf8(tmp_path: Path, odd_name: str) -> None:
    source = find(tmp_path)
    assert source.files == (odd_name,)
    np.testing.assert_array_equal(next(decode(source.root / odd_name, Decoding())).pixels, GREY)
    assert printable(odd_name) == r"\xffa.png"
    (tmp_path / "list.txt").write_bytes(b"\xffa.png\n\xffgone.png\n")
    source = find(f"@{tmp_path}/list.txt")
    assert source.files == (odd_name,) and source.broken == ((r"\xffgone.png", "No such file or directory"),)
    (tmp_path / odd_name).write_bytes(b"not an image, not at all")
    with pytest.raises(NotAnImage) as caught:
        next(decode(tmp_path / odd_name, Decoding()))
    str(caught.value).encode()
