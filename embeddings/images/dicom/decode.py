"""Decode DICOM files: the header is read and checked, then each frame is decoded and shown.

`embeddings.images.formats` imports this file when it meets the first DICOM file, and turns whatever pydicom raises into its own
errors. pydicom is imported inside the functions, because it may be missing.
"""

import io
import zlib
from collections.abc import Iterator
from typing import Any

from embeddings.images.decoding import Decoding, Frame
from embeddings.images.dicom.display import Display
from embeddings.images.dicom.header import Header
from embeddings.images.dicom.layout import KINDS, check_layout, layout_of
from embeddings.images.dicom.patient import patient_of
from embeddings.images.dicom.pixels import encoded_pixels, stored_frames
from embeddings.images.errors import BadPixels, MissingExtra, NotAnImage
from embeddings.images.limits import check_frames, check_memory

_DEFLATED = b"1.2.840.10008.1.2.1.99"


def decode_dicom(data: bytes, decoding: Decoding) -> Iterator[Frame]:
    """Every frame of a DICOM file.

    Raises:
        MissingExtra: pydicom, or the plug-in for this transfer syntax, is not installed.
        ImageError: what is found before pydicom decodes; what pydicom raises comes out as it is.
    """
    header = _read(data, decoding)
    encoded = encoded_pixels(header)
    layout = layout_of(header, encoded)
    check_layout(layout, encoded, len(data), decoding)
    display, patient = Display(header, layout, decoding), patient_of(header)
    for index, stored in enumerate(stored_frames(header, layout, encoded)):
        check_frames(index + 1, (index + 1) * layout.rows * layout.columns, decoding)  # compressed ones may be more than declared
        yield Frame(display.grey(index, stored), layout.photometric, tuple(header.notes), patient)


def _read(data: bytes, decoding: Decoding) -> Header:
    """The header of a file that has pixels; it names its transfer syntax.

    Raises:
        MissingExtra: pydicom is not installed.
        ImageError: it is no DICOM file, or has no pixels.
    """
    try:
        import pydicom
        import pydicom.pixels.processing
        import pydicom.pixels.utils
    except ImportError as error:
        raise MissingExtra(f"DICOM needs pydicom: {MissingExtra.mend}") from error
    _check_deflated(data, decoding)
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    if "Rows" not in dataset or not any(name in dataset for name in KINDS):
        if dataset.preamble is None and "SOPClassUID" not in dataset:  # read by force, and nothing came of it
            raise NotAnImage("not a DICOM file")
        raise BadPixels("the DICOM file holds no pixels")
    _name_syntax(dataset)
    return Header(dataset)


def _check_deflated(data: bytes, decoding: Decoding) -> None:
    """Raises TooManyPixels where a file of transfer syntax Deflated Explicit VR Little Endian is too large once inflated.

    Everything behind the file meta information is deflated (PS3.5 section A.5); the first element there says how long that is.
    """
    if _DEFLATED not in data[:1024]:
        return
    start = 144 + int.from_bytes(data[140:144], "little")
    most = decoding.memory - len(data)
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], max(1, most + 1))
    check_memory(len(data) + 2 * len(inflated), decoding)


def _name_syntax(dataset: Any) -> None:
    """Give a dataset the transfer syntax that it was read by, where it names none."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
