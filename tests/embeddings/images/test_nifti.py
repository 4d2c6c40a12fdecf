"""NIfTI and Analyze, written here and held against the formats' rules and NumPy."""

import gzip
import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding, Layout
from embeddings.images.errors import Altered, BadPixels, ImageError, TooManyPixels, Truncated
from embeddings.images.find import find
from indexer.files import hashed
from tests.helpers.pictures import frames, half_up, luma

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


# Pairs


def pair(folder: Path, values: NDArray[Any], kind: str = "Nifti1Pair", name: str = "a") -> Path:
    """The header of a pair of files."""
    nibabel = pytest.importorskip("nibabel")
    image = getattr(nibabel, kind)(values, LPS)
    path = folder / f"{name}.hdr"
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("kind", ["Nifti1Pair", "nifti2.Nifti2Pair", "Spm2AnalyzeImage", "Spm99AnalyzeImage", "AnalyzeImage"])
def test_pairs_look_as_single_files(tmp_path: Path, kind: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    made = nibabel.nifti2.Nifti2Pair if "." in kind else getattr(nibabel, kind)
    nibabel.save(made(VOLUME, np.diag([-1.0, 1, 1, 1]) if "Analyze" in kind else LPS), tmp_path / "a.hdr")
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.suffix != ".mat") == [".hdr", ".img"]
    got = list(decode(tmp_path / "a.hdr", Decoding()))
    low, high = np.quantile(VOLUME, (0.005, 0.995))
    assert len(got) == 7
    for index, frame in enumerate(got):
        plane = VOLUME[:, ::-1, index] if "Analyze" in kind else VOLUME[:, :, index]
        np.testing.assert_array_equal(frame.pixels, half_up(plane.T, low, high))


def test_pairs_packed_or_in_capitals(tmp_path: Path) -> None:
    header = pair(tmp_path, VOLUME)
    expected = [frame.pixels for frame in decode(header, Decoding())]
    voxels = header.with_suffix(".img")
    for head, body in ((".HDR", ".IMG"), (".hdr.gz", ".img.gz"), (".hdr", ".img.gz"), (".hdr.gz", ".img")):
        folder = tmp_path / f"set{head}{body}"
        folder.mkdir()
        (folder / f"b{head}").write_bytes(gzip.compress(header.read_bytes()) if head.endswith("gz") else header.read_bytes())
        (folder / f"b{body}").write_bytes(gzip.compress(voxels.read_bytes()) if body.endswith("gz") else voxels.read_bytes())
        assert find(folder).files == (f"b{head}",)
        for got, want in zip(decode(folder / f"b{head}", Decoding()), expected, strict=True):
            np.testing.assert_array_equal(got.pixels, want)


def test_a_pair_in_big_endian(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    little = pair(tmp_path, VOLUME)
    header = nibabel.nifti1.Nifti1PairHeader(little.read_bytes()[:348]).as_byteswapped(">")
    (tmp_path / "big.hdr").write_bytes(header.binaryblock)
    (tmp_path / "big.img").write_bytes(VOLUME.astype(">i2").tobytes(order="F"))
    for got, want in zip(decode(tmp_path / "big.hdr", Decoding()), decode(little, Decoding()), strict=True):
        np.testing.assert_array_equal(got.pixels, want.pixels)


def test_a_pair_is_one_image_and_its_hash_that_of_both(tmp_path: Path) -> None:
    header = pair(tmp_path, VOLUME)
    (tmp_path / "other.hdr").write_text("ENVI\nsamples = 4")  # another format's header
    (tmp_path / "disk.img").write_bytes(bytes(1000))
    assert find(tmp_path).files == ("a.hdr",)
    assert find(header.with_suffix(".img")).files == ("a.hdr",)
    digest, size = hashed(header)
    both = header.read_bytes() + header.with_suffix(".img").read_bytes()
    assert (digest, size) == (hashlib.sha256(both).hexdigest(), len(both))
    assert len(list(decode(header, Decoding(), digest))) == 7
    header.with_suffix(".img").write_bytes(bytes(len(both)))
    with pytest.raises(Altered):
        list(decode(header, Decoding(), digest))


def test_half_a_pair(tmp_path: Path) -> None:
    header = pair(tmp_path, VOLUME)
    alone = header.read_bytes()
    header.with_suffix(".img").unlink()
    with pytest.raises(Truncated, match="must stand beside the header"):
        list(decode(header, Decoding()))
    with pytest.raises(ImageError, match="both files of a pair"):
        list(decode(alone, Decoding()))
    header.with_suffix(".img").write_bytes(bytes(30))
    with pytest.raises(Truncated):
        list(decode(header, Decoding()))


# How grey is shown


def with_header(data: bytes, **fields: Any) -> bytes:
    nibabel = pytest.importorskip("nibabel")
    header = nibabel.Nifti1Header(data[:348])
    for name, value in fields.items():
        header[name] = value
    return bytes(header.binaryblock) + data[348:]


def test_display_range_of_the_file(tmp_path: Path) -> None:
    data = with_header(nifti(VOLUME, LPS), cal_min=-200, cal_max=800)
    np.testing.assert_array_equal(frames(tmp_path, data, "a.nii")[1].pixels, half_up(VOLUME[:, :, 1].T, -200, 800))
    given = frames(tmp_path, data, "a.nii", Decoding(centre=0, width=100))
    np.testing.assert_array_equal(given[1].pixels, half_up(VOLUME[:, :, 1].T, -50, 50))
    unset = [frame.pixels.tolist() for frame in frames(tmp_path, nifti(VOLUME, LPS), "a.nii")]
    for low, high in ((0, 0), (5, 5), (9, -9), (np.nan, 3), (0, np.inf)):
        other = frames(tmp_path, with_header(nifti(VOLUME, LPS), cal_min=low, cal_max=high), "a.nii")
        assert [frame.pixels.tolist() for frame in other] == unset
        assert other[0].notes == ()
    beyond = frames(tmp_path, with_header(nifti(VOLUME, LPS), cal_min=1e6, cal_max=2e6), "a.nii")
    assert [frame.pixels.tolist() for frame in beyond] == unset
    assert "cal_min and cal_max" in beyond[0].notes[0]


def test_few_values_of_8_bits_are_stretched(tmp_path: Path) -> None:
    few = (VOLUME % 16).astype(np.uint8)
    np.testing.assert_array_equal(frames(tmp_path, nifti(few, LPS), "a.nii")[1].pixels, half_up(few[:, :, 1].T, 0, 15))
    many = (VOLUME % 256).astype(np.uint8)
    for decoding in (Decoding(), Decoding(centre=40, width=20)):  # a window is not for 8 bits
        np.testing.assert_array_equal(frames(tmp_path, nifti(many, LPS), "a.nii", decoding)[1].pixels, many[:, :, 1].T)


def test_an_affine_that_says_nothing_is_said(tmp_path: Path) -> None:
    plain = with_header(nifti(VOLUME), sform_code=0, qform_code=0)
    for data in (
        with_header(nifti(VOLUME), srow_x=[np.nan] * 4, qform_code=0),
        with_header(nifti(VOLUME), srow_z=[0] * 4, qform_code=0),
        with_header(nifti(VOLUME), sform_code=0, qform_code=1, quatern_b=3, quatern_c=3, quatern_d=3),
    ):
        got = frames(tmp_path, data, "a.nii")
        assert "affine" in got[0].notes[0]
        for mine, theirs in zip(got, frames(tmp_path, plain, "a.nii"), strict=True):
            np.testing.assert_array_equal(mine.pixels, theirs.pixels)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_as_stored_is_sliced_as_its_array(tmp_path: Path, axis: int) -> None:
    """What a generator was trained on that took `get_fdata()[:, :, k]`, whatever the affine says."""
    nibabel = pytest.importorskip("nibabel")
    affine = np.array([[0, -1, 0, 4], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    (tmp_path / "v.nii").write_bytes(nifti(VOLUME, affine))
    values = nibabel.load(tmp_path / "v.nii").get_fdata()
    got = frames(tmp_path, nifti(VOLUME, affine), "a.nii", Decoding(axis=axis, layout=Layout.STORED))
    assert len(got) == VOLUME.shape[axis]
    for number, frame in enumerate(got):
        expected = half_up(np.take(values, number, axis), *np.quantile(VOLUME, (0.005, 0.995)))
        np.testing.assert_array_equal(frame.pixels, expected)
