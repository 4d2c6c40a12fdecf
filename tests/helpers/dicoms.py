"""Small DICOM files for tests, with any attribute as one likes."""

import io
import struct
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

_NUMBERS = {"US": "<H", "SS": "<h", "UL": "<I", "SL": "<i"}


@dataclass(frozen=True)
class Element:
    """A value under a value representation of one's choice, right or wrong."""

    vr: str
    value: Any

    def raw(self, keyword: str) -> Any:
        """As an element that pydicom writes as it is."""
        pydicom = pytest.importorskip("pydicom")
        values = self.value if isinstance(self.value, list) else [self.value]
        if isinstance(self.value, bytes):
            data = self.value
        elif self.vr in _NUMBERS:
            data = b"".join(struct.pack(_NUMBERS[self.vr], value) for value in values)
        else:
            data = "\\".join(map(str, values)).encode()
        data += b" " * (len(data) % 2)
        tag = pydicom.tag.Tag(keyword)
        return pydicom.dataelem.RawDataElement(tag, self.vr, len(data), data, 0, False, True)


def dicom(
    values: NDArray[Any], photometric: str = "MONOCHROME2", frames: int = 1, bits: int | None = None, **attributes: Any
) -> bytes:
    """A secondary capture of the values: (H, W), (F, H, W) or (H, W, 3). An attribute that is None is left out."""
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
        if value is None:
            delattr(dataset, name)
        elif isinstance(value, Element):
            dataset[name] = value.raw(name)
        else:
            setattr(dataset, name, value)
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OB" if values.itemsize == 1 else "OW"
    return saved(dataset)


def saved(dataset: Any) -> bytes:
    """The bytes of a dataset as a file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are broken on purpose
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def opened(data: bytes) -> Any:
    """A file as a dataset that can be changed and saved."""
    return pytest.importorskip("pydicom").dcmread(io.BytesIO(data))


def encapsulated(data: bytes, syntax: str, frames: list[bytes], **attributes: Any) -> bytes:
    """A file with compressed frames in the place of its pixels; `syntax` is a name of `pydicom.uid`."""
    pydicom = pytest.importorskip("pydicom")
    dataset = opened(data)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.PixelData = pydicom.encaps.encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    return saved(dataset)


def big_endian(data: bytes, *words: str) -> bytes:
    """A file as Explicit VR Big Endian. pydicom swaps numbers, but not bytes (VR OW): those of 16 bits are swapped here.

    Args:
        data: of the file, little endian.
        words: names of further elements of 16-bit words, beside pixels of 16 bits.
    """
    pydicom = pytest.importorskip("pydicom")
    dataset = opened(data)
    for name in (*words, *(("PixelData",) if dataset.BitsAllocated == 16 else ())):
        dataset[name].value = np.frombuffer(dataset[name].value, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=False, enforce_file_format=True)
    return buffer.getvalue()


def item(**attributes: Any) -> Any:
    """An item of a sequence."""
    pydicom = pytest.importorskip("pydicom")
    made = pydicom.Dataset()
    for name, value in attributes.items():
        if isinstance(value, Element):
            made[name] = value.raw(name)
        else:
            setattr(made, name, value)
    return made


def lut(entries: NDArray[Any], first: int = 0, bits: int = 16, **more: Any) -> Any:
    """An item of a Modality or VOI LUT Sequence."""
    descriptor = [len(entries) % 65536, first % 65536, bits]
    return item(LUTDescriptor=Element("US", descriptor), LUTData=Element("OW", entries.tobytes()), **more)


def palette(
    tables: NDArray[Any], first: int = 0, bits: int = 16, segmented: bytes | None = None, count: int | None = None
) -> dict[str, Any]:
    """Attributes of palette colour: (3, n) tables, or one segmented table for all three colours."""
    made: dict[str, Any] = {}
    for colour, entries in zip(("Red", "Green", "Blue"), tables, strict=True):
        descriptor = [(count or len(entries)) % 65536, first % 65536, bits]
        made[f"{colour}PaletteColorLookupTableDescriptor"] = Element("US", descriptor)
        if segmented is None:
            made[f"{colour}PaletteColorLookupTableData"] = Element("OW", entries.tobytes())
        else:
            made[f"Segmented{colour}PaletteColorLookupTableData"] = Element("OW", segmented)
    return made
