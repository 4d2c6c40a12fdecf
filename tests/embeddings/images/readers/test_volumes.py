"""MetaImage and NRRD, written by hand, against the values and the layout that NIfTI has."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding
from embeddings.images.errors import Altered, BadPixels, ImageError, TooManyPixels, Truncated
from embeddings.images.pieces import pieces
from indexer.files import hashed
from tests.helpers.formats import NEEDS_SIMPLEITK, metaimage, nrrd, zipped
from tests.helpers.pictures import half_up

pytestmark = NEEDS_SIMPLEITK

VOLUME = (np.random.default_rng(0).random((4, 10, 12)) * 900 - 200).astype(np.int16)  # [z, y, x]
LIMITS = tuple(np.percentile(VOLUME, (0.5, 99.5)))
GREYS = half_up(VOLUME, *LIMITS)


def shown(path: Path, decoding: Decoding | None = None) -> list[NDArray[np.uint8]]:
    return [frame.pixels for frame in decode(path, decoding or Decoding(), hashed(path)[0])]


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.mha", metaimage(VOLUME)),
        ("a.mha", metaimage(VOLUME, compressed=True)),
        ("a.nrrd", nrrd(VOLUME, space="left-posterior-superior", space_directions="(1,0,0) (0,1,0) (0,0,1)")),
    ],
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices(tmp_path: Path, name: str, content: bytes, axis: int) -> None:
    """Axial slices as stored; the others head up, in the order of NIfTI's: from left to right, from back to front."""
    expected = {2: GREYS, 1: GREYS[::-1, ::-1].transpose(1, 0, 2), 0: GREYS[::-1, :, ::-1].transpose(2, 0, 1)}[axis]
    np.testing.assert_array_equal(shown(written(tmp_path, name, content), Decoding(axis=axis)), expected)


def test_the_same_slices_as_nifti(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(VOLUME.transpose(2, 1, 0), np.diag([-1, -1, 1, 1]))  # from left, back and head
    written(tmp_path, "a.nii.gz", gzip.compress(image.to_bytes()))
    for axis in (0, 1, 2):
        decoding = Decoding(axis=axis)
        nifti = [frame.pixels for frame in decode(tmp_path / "a.nii.gz", decoding)]
        np.testing.assert_array_equal(shown(written(tmp_path, "a.mha", metaimage(VOLUME)), decoding), nifti)


def test_volumes_that_lie_otherwise_are_turned(tmp_path: Path) -> None:
    turned = metaimage(VOLUME[::-1, ::-1], TransformMatrix="1 0 0 0 -1 0 0 0 -1")
    np.testing.assert_array_equal(shown(written(tmp_path, "a.mha", turned)), GREYS)
    axes = nrrd(np.ascontiguousarray(VOLUME.transpose(2, 1, 0)), space="LPS", space_directions="(0,0,1) (0,1,0) (1,0,0)")
    np.testing.assert_array_equal(shown(written(tmp_path, "a.nrrd", axes)), GREYS)


def test_kinds_of_values(tmp_path: Path) -> None:
    np.testing.assert_array_equal(shown(written(tmp_path, "a.mha", metaimage(GREYS))), GREYS)
    floats = VOLUME.astype(np.float32) / 7
    low, high = np.percentile(floats, (0.5, 99.5))
    np.testing.assert_array_equal(shown(written(tmp_path, "b.mha", metaimage(floats))), half_up(floats, low, high))
    np.testing.assert_array_equal(shown(tmp_path / "b.mha", Decoding(centre=0, width=40)), half_up(floats, -20, 20))
    low, high = np.percentile(VOLUME[0], (0.5, 99.5))
    np.testing.assert_array_equal(shown(written(tmp_path, "c.mha", metaimage(VOLUME[0]))), [half_up(VOLUME[0], low, high)])


@pytest.mark.parametrize(("header", "data"), [("a.mhd", "a.raw"), ("a.nhdr", "other.raw")])
def test_headers_with_a_data_file(tmp_path: Path, header: str, data: str) -> None:
    content = metaimage(VOLUME, data_file=data) if header.endswith(".mhd") else nrrd(VOLUME, data_file=data)
    path = written(tmp_path, header, content)
    written(tmp_path, data, VOLUME.tobytes())
    assert pieces(path) == (path, tmp_path / data)
    np.testing.assert_array_equal(shown(path), GREYS)
    sha256, size = hashed(path)
    assert size == len(content) + VOLUME.nbytes
    written(tmp_path, data, VOLUME[::-1].tobytes())
    with pytest.raises(Altered):
        list(decode(path, Decoding(), sha256))
    (tmp_path / data).unlink()
    with pytest.raises(ImageError):
        list(decode(path, Decoding()))


@pytest.mark.parametrize("data", ["../a.raw", "/etc/passwd", "LIST", "a%03d.raw 1 4 1", "..\\a.raw"])
@pytest.mark.parametrize("header", ["a.mha", "a.mhd", "a.nrrd", "a.nhdr"])
def test_data_elsewhere_are_not_followed(tmp_path: Path, header: str, data: str) -> None:
    made: Any = metaimage if header.startswith("a.m") else nrrd
    path = written(tmp_path, header, made(VOLUME, data_file=data))
    with pytest.raises(BadPixels, match="its data lie in"):
        list(decode(path, Decoding()))


def test_limits(tmp_path: Path) -> None:
    small = Decoding(max_pixels=100)
    with pytest.raises(TooManyPixels, match="12 x 10"):
        list(decode(written(tmp_path, "a.mha", metaimage(VOLUME)), small))
    bomb = metaimage(VOLUME, compressed=True).replace(b"DimSize = 12 10 4", b"DimSize = 9000 9000 9000")
    with pytest.raises(TooManyPixels):
        list(decode(written(tmp_path, "b.mha", bomb), Decoding()))
    short = metaimage(VOLUME).replace(b"DimSize = 12 10 4", b"DimSize = 1200 1000 400")
    with pytest.raises(Truncated):
        list(decode(written(tmp_path, "c.mha", short), Decoding()))
    with pytest.raises(ImageError):
        list(decode(written(tmp_path, "d.mha", metaimage(VOLUME)[:-100]), Decoding()))


def test_volumes_in_archives_say_what_to_do(tmp_path: Path) -> None:
    path = written(tmp_path, "a.zip", zipped({"a.mha": metaimage(VOLUME)}))
    with pytest.raises(BadPixels, match="unpack it"):
        list(decode(path / "a.mha", Decoding()))
