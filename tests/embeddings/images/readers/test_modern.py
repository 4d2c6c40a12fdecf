"""JPEG 2000, AVIF and HEIC against the pictures that they were made from."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding
from embeddings.images.errors import ImageError, TooManyPixels
from embeddings.images.readers.modern import kind_of
from tests.helpers.formats import jpeg2000
from tests.helpers.pictures import COLOUR, DEEP, EXACT, GREY, frames, half_up, luma, pixels

LUMA = luma(Image.fromarray(COLOUR))
FILES = Path(__file__).parents[3] / "data" / "formats"


@pytest.mark.parametrize("kind", ["jp2", "j2k"])
def test_jpeg_2000(tmp_path: Path, kind: str) -> None:
    for picture, expected in ((GREY, GREY), (COLOUR, LUMA)):
        np.testing.assert_array_equal(pixels(tmp_path, jpeg2000(picture, level=0, codecformat=kind)), expected)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_jpeg_2000_is_windowed(tmp_path: Path, bits: int) -> None:
    values = DEEP >> 12 - min(bits, 12)
    data = jpeg2000(values, level=0, bitspersample=bits, reversible=True)
    np.testing.assert_array_equal(pixels(tmp_path, data, decoding=EXACT), half_up(values, values.min(), values.max()))
    signed = DEEP.astype(np.int16) - 1500
    data = jpeg2000(signed, level=0, reversible=True)
    np.testing.assert_array_equal(pixels(tmp_path, data, decoding=EXACT), half_up(signed, signed.min(), signed.max()))
    deep = COLOUR.astype(np.uint16) << 4
    np.testing.assert_array_equal(pixels(tmp_path, jpeg2000(deep, level=0, reversible=True)), LUMA)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif(tmp_path: Path) -> None:
    smooth = Image.fromarray(COLOUR).resize((60, 40))
    buffer = io.BytesIO()
    smooth.save(buffer, "AVIF", quality=100, subsampling="4:4:4")
    assert np.abs(pixels(tmp_path, buffer.getvalue()).astype(int) - luma(smooth)).max() <= 3
    turned = smooth.rotate(180)
    buffer = io.BytesIO()
    smooth.save(buffer, "AVIF", quality=100, subsampling="4:4:4", save_all=True, append_images=[turned])
    got = frames(tmp_path, buffer.getvalue())
    assert [
        np.abs(frame.pixels.astype(int) - luma(picture)).max() <= 6 for frame, picture in zip(got, (smooth, turned), strict=True)
    ]


def test_heic(tmp_path: Path) -> None:
    """Files made with pillow-heif, of this wave, and of it upside down."""
    pytest.importorskip("pi_heif")
    y, x = np.mgrid[:48, :56]
    wave = ((np.sin(x / 7) + np.cos(y / 5) + 2) / 4 * 255).astype(np.uint8)
    for name, expected in (("grey.heic", [wave]), ("two.heic", [wave, wave[::-1]])):
        got = [frame.pixels for frame in decode(FILES / name, Decoding())]
        assert len(got) == len(expected)
        assert all(np.abs(ours.astype(int) - picture).max() <= 3 for ours, picture in zip(got, expected, strict=True))


def test_limits_and_damage(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, "AVIF")
    made = [jpeg2000(GREY, level=0), buffer.getvalue(), (FILES / "grey.heic").read_bytes()]
    assert [kind_of(data[:512]) for data in made] == ["jpeg2000", "avif", "heic"]
    for data in made:
        with pytest.raises(TooManyPixels):
            frames(tmp_path, data, decoding=Decoding(max_pixels=1000))
        for cut in (20, 60, len(data) // 2):
            with pytest.raises(ImageError):
                frames(tmp_path, data[:cut])
