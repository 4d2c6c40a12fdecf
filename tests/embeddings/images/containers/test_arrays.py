"""Arrays of pictures: layouts, ranges and number types, against values computed here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from embeddings.images.containers.members import Member
from embeddings.images.decode import decode, members
from embeddings.images.decoding import ArrayFrame, Decoding
from embeddings.images.errors import Altered, BadPixels, ImageError, NotAnImage, TooManyPixels, Truncated
from tests.helpers.formats import npy, npz
from tests.helpers.pictures import COLOUR, GREY, half_up, luma

STACK = np.stack([np.roll(GREY, 7 * shift, 0) for shift in range(5)])
COLOURS = np.stack([np.roll(COLOUR, 7 * shift, 0) for shift in range(5)])
LUMAS = np.stack([luma(Image.fromarray(picture)) for picture in COLOURS])


def written(folder: Path, values: NDArray[Any]) -> Path:
    path = folder / "a.npy"
    path.write_bytes(npy(values))
    return path


def shown(path: Path, decoding: Decoding | None = None) -> tuple[str, NDArray[np.uint8]]:
    """How an array is read, and all its frames, each read alone."""
    found = list(members(path, decoding or Decoding()))
    (reading,) = {member.reading for member in found}
    assert [member.frame for member in found] == list(range(found[0].frames))
    return reading, np.stack([alone(path, member, decoding) for member in found])


def alone(path: Path, member: Member, decoding: Decoding | None = None) -> NDArray[np.uint8]:
    assert member.frame is not None
    frame = ArrayFrame(member.frame, member.reading)
    (found,) = decode(path / member.name, decoding or Decoding(), member.sha256, frame=frame)
    assert found.mode == member.reading
    return found.pixels


@pytest.mark.parametrize(
    ("values", "layout", "expected"),
    [
        (GREY, "HW", GREY[np.newaxis]),
        (STACK, "NHW", STACK),
        (STACK[:3], "NHW", STACK[:3]),
        (STACK[..., np.newaxis], "NHWC", STACK),
        (STACK[:, np.newaxis], "NCHW", STACK),
        (COLOUR, "HWC", LUMAS[:1]),
        (COLOURS, "NHWC", LUMAS),
        (np.moveaxis(COLOURS, -1, 1), "NCHW", LUMAS),
        (np.stack([STACK, STACK[::-1]]), "NDHW", np.concatenate([STACK, STACK[::-1]])),
        (np.stack([STACK, STACK[::-1]])[:, np.newaxis], "NCDHW", np.concatenate([STACK, STACK[::-1]])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_layouts(tmp_path: Path, values: NDArray[Any], layout: str, expected: NDArray[np.uint8], order: Any) -> None:
    reading, got = shown(written(tmp_path, np.asarray(values, order=order)))
    assert reading == f"array {layout} uint8 as-stored"
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
@pytest.mark.parametrize(
    ("scale", "shift", "name"),
    [(1 / 255, 0, "0..1"), (2 / 255, -1, "-1..1"), (1, 0, "0..255"), (2.1 / 255, -1.05, "-1..1"), (1.1 / 255, -0.05, "0..1")],
)
def test_ranges_of_floats_are_decided_over_the_whole_array(
    tmp_path: Path, dtype: str, scale: float, shift: float, name: str
) -> None:
    full = STACK.copy()
    full[0, :2] = [[0], [255]]  # only one picture has the whole range
    values = (full * scale + shift).astype(dtype)
    reading, got = shown(written(tmp_path, values))
    assert reading == f"array NHW {np.dtype(dtype).newbyteorder('=')} {name}"
    low, high = {"0..1": (0, 1), "-1..1": (-1, 1), "0..255": (0, 255)}[name]
    np.testing.assert_array_equal(got, half_up(values, low, high))


def test_other_ranges_are_windowed_by_each_picture(tmp_path: Path) -> None:
    for values in (STACK.astype(np.uint16) * 11, STACK.astype(np.int16) * 9 - 1000, STACK * np.float32(3.5)):
        reading, got = shown(written(tmp_path, values))
        assert reading.endswith("windowed")
        for ours, picture in zip(got, values, strict=True):
            np.testing.assert_array_equal(ours, half_up(picture, *np.percentile(picture, (0.5, 99.5))))
    deep = COLOURS.astype(np.uint16) * 16  # 12-bit colour
    np.testing.assert_array_equal(shown(written(tmp_path, deep))[1], LUMAS)


def test_integers_that_hold_8_bits(tmp_path: Path) -> None:
    for dtype in ("u2", "i4", "i8"):
        np.testing.assert_array_equal(shown(written(tmp_path, STACK.astype(dtype)))[1], STACK)
    np.testing.assert_array_equal(shown(written(tmp_path, (STACK.astype(np.int16) - 128).astype(np.int8)))[1], STACK)
    np.testing.assert_array_equal(shown(written(tmp_path, STACK > 100))[1], (STACK > 100) * 255)


def test_a_fixed_window_holds_for_deep_arrays(tmp_path: Path) -> None:
    values = STACK.astype(np.int16) * 9 - 1000
    _, got = shown(written(tmp_path, values), Decoding(centre=0, width=400))
    np.testing.assert_array_equal(got, half_up(values, -200, 200))


def test_nan_is_black_and_no_finite_value_is_an_error(tmp_path: Path) -> None:
    values = STACK / np.float32(255)
    values[1, 3, 3] = np.nan
    assert shown(written(tmp_path, values))[1][1, 3, 3] == 0
    with pytest.raises(BadPixels, match="finite"):
        list(members(written(tmp_path, np.full((2, 8, 8), np.nan)), Decoding()))


@pytest.mark.parametrize("compressed", [False, True])
def test_npz(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.npz"
    labels = np.zeros((5, 14))
    path.write_bytes(npz(compressed, images=STACK, more=np.asfortranarray(COLOURS / 255), labels=labels, names=np.arange(5)))
    found = list(members(path, Decoding()))
    assert {member.name for member in found if member.ignored} == {"labels.npy", "names.npy"}
    frames = {(member.name, member.frame): alone(path, member) for member in found if member.sha256}
    np.testing.assert_array_equal([frames["images", at] for at in (4, 0, 2)], STACK[[4, 0, 2]])
    np.testing.assert_array_equal([frames["more", at] for at in range(5)], LUMAS)


def test_all_frames_of_an_array_that_is_looked_up(tmp_path: Path) -> None:
    path = written(tmp_path, STACK)
    for source in (path, path.read_bytes()):
        np.testing.assert_array_equal([frame.pixels for frame in decode(source, Decoding())], STACK)


def test_frames_are_recognised_by_their_values(tmp_path: Path) -> None:
    path = written(tmp_path, STACK)
    found = list(members(path, Decoding()))
    assert len({member.sha256 for member in found}) == 5
    changed = STACK.copy()
    changed[2, 0, 0] ^= 1
    written(tmp_path, changed)
    alone(path, found[1])
    with pytest.raises(Altered):
        alone(path, found[2])


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (npy(np.array([{}, []], dtype=object)), BadPixels, "pickle"),
        (npy(np.zeros((4, 5), np.complex64)), BadPixels, "complex64"),
        (npy(np.zeros(100)), BadPixels, r"shape \(100,\)"),
        (npy(np.zeros((100, 2))), BadPixels, "holds no pictures"),
        (npy(np.zeros((0, 8, 8))), BadPixels, "holds no pictures"),
        (npy(np.zeros((2, 2, 2, 2, 9, 9))), BadPixels, "holds no pictures"),
        (npy(np.zeros(8, dtype=[("a", "f4"), ("b", "u1")])), BadPixels, "holds no pictures"),
        (npy(STACK)[:-1], Truncated, "are declared"),
        (b"\x93NUMPY\1\0" + b"\xff" * 50, NotAnImage, "no .npy array"),
        (b"PK\3\4 and more", NotAnImage, "no .npy array"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, content: bytes, error: type[ImageError], text: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(error, match=text):
        list(members(path, Decoding()))
    with pytest.raises(error, match=text):
        list(decode(path, Decoding()))


def test_headers_that_declare_much_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    small = npy(np.zeros((5, 48, 56), np.uint8))
    path.write_bytes(small.replace(b"(5, 48, 56)", b"(5, 480000, 560000)"[:19]).ljust(200_000, b" "))
    with pytest.raises((Truncated, TooManyPixels, NotAnImage)):
        list(members(path, Decoding()))


def test_a_large_array_is_read_frame_by_frame(tmp_path: Path) -> None:
    """Of 4 GB, sparse on disk and more than decoding may take, one frame costs one frame."""
    path = tmp_path / "a.npy"
    values = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(4000, 512, 512))
    values[3999] = np.linspace(0, 1, 512, dtype=np.float32)
    del values
    decoding = Decoding(max_pixels=1_000_000)
    (frame,) = decode(path, decoding, frame=ArrayFrame(3999, "array NHW float32 0..1"))
    np.testing.assert_array_equal(frame.pixels[0], half_up(np.linspace(0, 1, 512, dtype=np.float32), 0, 1))
