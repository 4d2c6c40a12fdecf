"""DICOM and NIfTI, written here and held against the standards' formulas and NumPy."""

import gzip
import io
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from embeddings.images.decoding import Decoding
from embeddings.images.errors import BadPixels, ImageError, MissingExtra, TooManyPixels, Truncated
from tests.helpers.pictures import COLOUR, DEEP, EXACT, GREY, frames, half_up, luma, pixels
from tests.helpers.places import ROOT

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


def jpeg_lossless(values: NDArray[np.uint16]) -> bytes:
    """JPEG process 14, selection value 1 (ITU-T T.81 annex H): differences to the left neighbour, Huffman codes of five bits."""
    height, width = values.shape
    predicted = np.empty((height, width), np.int64)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << 15
    bits = ""
    for difference in (values - predicted).ravel().tolist():
        length = abs(difference).bit_length()
        extra = difference if difference >= 0 else difference + (1 << length) - 1
        bits += f"{length:05b}" + (f"{extra:0{length}b}" if length else "")
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    table = bytes([0, 0, 0, 0, 0, 17]) + bytes(11) + bytes(range(17))  # table 0: 17 codes, all of five bits
    frame = struct.pack(">BHHBBBB", 16, height, width, 1, 1, 0x11, 0)
    start = segment(0xC3, frame) + segment(0xC4, table) + segment(0xDA, bytes([1, 1, 0, 1, 0, 0]))
    return b"\xff\xd8" + start + scan + b"\xff\xd9"


def test_dicom_jpeg_lossless(tmp_path: Path) -> None:
    """The commonest compression of CT, which only the packages of the extra decode."""
    pydicom = pytest.importorskip("pydicom")
    for package in ("pylibjpeg", "libjpeg"):
        pytest.importorskip(package)
    dataset = pydicom.dcmread(io.BytesIO(dicom(DEEP)))
    dataset.PixelData = pydicom.encaps.encapsulate([jpeg_lossless(DEEP)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    np.testing.assert_array_equal(pixels(tmp_path, buffer.getvalue()), pixels(tmp_path, dicom(DEEP)))


@pytest.mark.parametrize(
    ("syntax", "plugin"), [("RLELossless", "pydicom"), ("JPEGLSLossless", "jpeg_ls"), ("JPEG2000Lossless", "openjpeg")]
)
def test_dicom_compressed_without_loss(tmp_path: Path, syntax: str, plugin: str) -> None:
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip(plugin)
    dataset = pydicom.dcmread(io.BytesIO(dicom(HU)))
    dataset.compress(getattr(pydicom.uid, syntax))
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
    with pytest.raises(Truncated, match="bytes of pixels declared"):
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


def test_readers_and_plugins_import_in_silence() -> None:
    for package in ("pydicom", "nibabel"):
        pytest.importorskip(package)
    code = "import embeddings.images.medical, nibabel, pydicom.pixels.decoders, PIL.Image; PIL.Image.init()"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_medical_packages_are_imported_late() -> None:
    code = "import sys, embeddings.images.decode; print([name for name in ('pydicom', 'nibabel') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
