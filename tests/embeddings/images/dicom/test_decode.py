"""DICOM files as a whole: what is read, what is refused. Single steps have tests of their own."""

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
from embeddings.images.find import find
from tests.helpers import bombs
from tests.helpers.dicoms import dicom, opened, saved
from tests.helpers.pictures import COLOUR, DEEP, EXACT, GREY, frames, half_up, luma, pixels
from tests.helpers.places import ROOT

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
    other = data.replace(b"\x14\x001.2.840.10008.1.2.1\0", b"\x18\x001.2.840.10008.1.2.4.100\0")
    assert other != data
    with pytest.raises(BadPixels, match="MPEG2"):
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


@pytest.mark.parametrize(
    ("module", "name", "head"), [("pydicom", "a.dcm", bytes(128) + b"DICM"), ("nibabel", "a.nii", bytes(400))]
)
def test_missing_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, head: bytes) -> None:
    for loaded in [module, *(known for known in sys.modules if known.startswith(f"{module}."))]:  # an earlier test imports some
        monkeypatch.setitem(sys.modules, loaded, None)
    with pytest.raises(MissingExtra, match=r"pip install '\.\[medical\]' in the project folder"):
        frames(tmp_path, head, name)


def test_readers_and_plugins_import_in_silence() -> None:
    for package in ("pydicom", "nibabel"):
        pytest.importorskip(package)
    code = "import embeddings.images.dicom.decode, embeddings.images.nifti, nibabel, pydicom.pixels.decoders, PIL.Image as Pillow"
    code += "; Pillow.init()"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_medical_packages_are_imported_late() -> None:
    code = "import sys, embeddings.images.decode; print([name for name in ('pydicom', 'nibabel') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_dicom_deflated(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    dataset = opened(dicom(HU))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    data = saved(dataset)
    np.testing.assert_array_equal(pixels(tmp_path, data), pixels(tmp_path, dicom(HU)))
    with pytest.raises(TooManyPixels):
        frames(tmp_path, dicom_of_zeros(), decoding=Decoding(max_pixels=4_000_000))


def dicom_of_zeros() -> bytes:
    """A deflated file that becomes a thousand times larger."""
    return bombs.dicom(8, 8, bytes(200_000_000), syntax=b"1.2.840.10008.1.2.1.99")


def test_dicom_of_packed_12_bits(tmp_path: Path) -> None:
    """Two values in three bytes, the first in the low 12 bits."""
    first, second = DEEP.reshape(-1, 2).astype(np.uint32).T
    triples = first | second << 12
    packed = np.stack([triples & 255, triples >> 8 & 255, triples >> 16], axis=-1).astype(np.uint8).tobytes()
    dataset = opened(dicom(DEEP, bits=12))
    dataset.BitsAllocated, dataset.PixelData = 12, packed
    np.testing.assert_array_equal(pixels(tmp_path, saved(dataset)), pixels(tmp_path, dicom(DEEP, bits=12)))


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("little", [True, False])
def test_dicom_without_preamble_is_known_by_its_first_elements(tmp_path: Path, implicit: bool, little: bool) -> None:
    pydicom = pytest.importorskip("pydicom")
    if implicit and not little:
        pytest.skip("DICOM knows no implicit VR in big endian")
    dataset = opened(dicom(GREY))
    dataset.Modality, dataset.StudyDate = "OT", "20260101"
    del dataset.file_meta
    dataset.preamble = None
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=implicit, little_endian=little)
    for name in ("IM000001", "", "1.2.840.1"):
        np.testing.assert_array_equal(pixels(tmp_path, buffer.getvalue(), name), GREY)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "IM000001").write_bytes(buffer.getvalue())
    (tmp_path / "set" / "README").write_text("These are " * 50)
    (tmp_path / "set" / "LOG").write_bytes(bytes(range(256)) * 4)
    assert find(tmp_path / "set").files == ("IM000001",)
