"""Stored values of a DICOM file, frame by frame: pydicom decodes, what it leaves to its caller is done here."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from embeddings.images.dicom.header import Header
from embeddings.images.dicom.layout import KINDS, LOSSY_JPEG, Encoded, Layout, unshifted
from embeddings.images.errors import BadPixels, MissingExtra
from embeddings.images.limits import codestream_samples, jpeg_segments

_CLEAR = 3  # bits of shift from which on values that are not shifted stand out: an image seldom uses an eighth of its range
_PACKED = 12  # bits allocated of packed cells
_SEQUENTIAL = (0xC0, 0xC1)  # start of a frame (SOF) of sequential JPEG


def encoded_pixels(header: Header) -> Encoded:
    """The pixels as they lie in the file, where something can decode them.

    Raises:
        BadPixels: there are none, or none of a transfer syntax that is read.
        MissingExtra: the package that decodes them is not installed.
    """
    from pydicom.encaps import generate_frames
    from pydicom.pixels.decoders.base import get_decoder

    dataset = header.dataset
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError as error:
        raise BadPixels(f"transfer syntax {syntax.name} is not read") from error
    if not available:
        raise MissingExtra(f"transfer syntax {syntax.name} needs more packages: {MissingExtra.mend}")
    data = next((header.value(name) for name in KINDS if name in header), None)
    if not isinstance(data, bytes | bytearray) or not data:
        raise BadPixels("the DICOM file holds no pixels")
    if header.integer("BitsAllocated") == _PACKED and not syntax.is_encapsulated:
        data = _unpacked(bytes(data), header)
    first = next(generate_frames(bytes(data), number_of_frames=1), b"") if syntax.is_encapsulated else b""
    return Encoded(bytes(data), syntax, first)


def stored_frames(header: Header, layout: Layout, encoded: Encoded) -> Iterator[NDArray[Any]]:
    """Each frame as stored values, (H, W), or as RGB, (H, W, 3).

    Raises:
        BadPixels: the decoder of this kind of pixels cannot read them.
    """
    if layout.samples == 3 and encoded.syntax in LOSSY_JPEG and codestream_samples(encoded.first)[1] == 8:
        yield from _jpeg_frames(header, layout, encoded)
        return
    from pydicom.pixels.utils import iter_pixels

    try:
        for stored in iter_pixels(_dataset(header, layout, encoded)):
            if layout.shift >= _CLEAR and _fits(stored, layout):
                header.note(f"HighBit is {layout.high_bit}, but values lie in the lowest {layout.stored} bits: taken so")
                layout = unshifted(layout)
            yield stored >> layout.shift if layout.shift else stored
    except RuntimeError as error:
        if encoded.first:
            raise BadPixels(f"{encoded.syntax.name}: no installed decoder reads these pixels") from error
        raise


def _fits(cells: NDArray[Any], layout: Layout) -> bool:
    """Whether cells hold values that are not where the high bit says: some bits below are set, and none above is needed."""
    low = (1 << layout.shift) - 1
    return bool((cells & low).any() and cells.min() >= layout.least and cells.max() <= layout.most)


def _dataset(header: Header, layout: Layout, encoded: Encoded) -> Any:
    """A dataset of the pixels alone, whose attributes are all as they should be, for pydicom.

    It cuts off the bits of a cell above `BitsStored`, and extends the sign; the value may lie higher, so here these are all bits
    up to the highest of the value.
    """
    from pydicom.dataset import Dataset, FileMetaDataset

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = encoded.syntax
    made.Rows, made.Columns, made.NumberOfFrames = layout.rows, layout.columns, layout.frames
    made.SamplesPerPixel, made.PhotometricInterpretation = layout.samples, layout.photometric
    made.BitsAllocated, made.BitsStored, made.HighBit = layout.allocated, layout.high_bit + 1, layout.high_bit
    made.PixelRepresentation, made.PlanarConfiguration = int(layout.signed), layout.planar
    if layout.photometric.startswith("YBR_PARTIAL"):
        made.PhotometricInterpretation = "YBR_FULL_422"
    source = header.dataset[layout.kind]
    made.add_new(source.tag, source.VR, _mended(encoded, layout.frames))
    made[layout.kind].is_undefined_length = encoded.syntax.is_encapsulated
    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if isinstance(table := header.value(name), bytes):
            setattr(made, name, table)
    return made


def _unpacked(data: bytes, header: Header) -> bytes:
    """Cells of 12 bits, which ACR-NEMA and early DICOM packed without gaps, as cells of 16: PS3.5 section 8.1.1, before 2001.

    The first value is in the low 12 bits of three bytes.
    """
    header.replace("BitsAllocated", 16)
    header.replace("HighBit", (header.integer("BitsStored") or _PACKED) - 1)
    whole = np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(-1, 3).astype(np.uint16)
    pairs = np.stack([whole[:, 0] | (whole[:, 1] & 15) << 8, whole[:, 1] >> 4 | whole[:, 2] << 4], axis=-1)
    return pairs.astype("<u2" if header.dataset.file_meta.TransferSyntaxUID.is_little_endian else ">u2").tobytes()


# JPEG of three colours


def _jpeg_frames(header: Header, layout: Layout, encoded: Encoded) -> Iterator[NDArray[Any]]:
    """Frames of 8-bit JPEG as RGB, by Pillow.

    Raises:
        BadPixels: they are not of 8 bits, or not as large as the file says.
    """
    from pydicom.encaps import generate_frames

    for data in generate_frames(encoded.data, number_of_frames=layout.frames):
        colours = colours_of(data)
        if layout.photometric == "RGB" and colours == "YCbCr":
            header.note("PhotometricInterpretation is RGB, but the JPEG holds YCbCr: taken as that")
        try:
            image = JpegImageFile(io.BytesIO(data))
        except (SyntaxError, OSError) as error:
            raise BadPixels(f"{encoded.syntax.name} of a kind that is not read: {error}") from error
        if image.size != (layout.columns, layout.rows):
            raise BadPixels(f"a frame of {image.width} x {image.height} pixels, expected {layout.columns} x {layout.rows}")
        if layout.photometric == "RGB" and not colours:
            image.draft("YCbCr", image.size)  # Pillow would take it for YCbCr: so it is left as it is stored
        image.load()
        if len(image.getbands()) != 3:
            raise BadPixels(f"a frame of {len(image.getbands())} samples a pixel, expected 3")
        yield np.asarray(image)


def colours_of(data: bytes) -> str:
    """``RGB`` or ``YCbCr`` where a JPEG of three components says itself what they are; empty where DICOM has to.

    It says so by its Adobe or JFIF marker, by components named R, G, B, or by subsampling, which makes sense for YCbCr alone.
    """
    jfif = False
    for marker, start, end in jpeg_segments(data):
        body = data[start:end]
        if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            return "YCbCr" if body[11] else "RGB"  # ITU-T T.872, 6.5.3: how colours are transformed
        jfif = jfif or (marker == 0xE0 and body.startswith(b"JFIF\0"))
        if marker in _SEQUENTIAL:
            if body[6::3] in (b"RGB", b"rgb"):
                return "RGB"
            return "YCbCr" if jfif or len(set(body[7::3])) > 1 else ""
    return ""


# JPEG of more than 8 bits


def _mended(encoded: Encoded, frames: int) -> bytes:
    """The pixels with scans of sequential JPEG as ITU-T T.81, table B.3, demands them: of coefficients 0 to 63.

    Some writers leave 0 to 0 there, which decoders refuse though nothing else could be meant.
    """
    from pydicom.encaps import encapsulate, generate_frames

    if encoded.syntax not in LOSSY_JPEG or _scan(encoded.first) is None:
        return encoded.data
    mended = []
    for data in generate_frames(encoded.data, number_of_frames=frames):
        at = _scan(data)
        mended.append(data if at is None else data[:at] + b"\0\x3f\0" + data[at + 3 :])
    return encapsulate(mended)


def _scan(data: bytes) -> int | None:
    """Where a sequential JPEG names the coefficients of its scan, if it does not name all."""
    segments = list(jpeg_segments(data))
    sequential = any(marker in _SEQUENTIAL for marker, _, _ in segments)
    at = segments[-1][2] - 3 if segments and segments[-1][0] == 0xDA else None
    return at if at is not None and sequential and data[at : at + 3] != b"\0\x3f\0" else None
