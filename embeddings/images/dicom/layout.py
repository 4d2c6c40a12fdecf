"""How the pixels of a DICOM file are laid out: its Image Pixel module (PS3.3 C.7.6.3), made whole where parts are missing."""

from dataclasses import dataclass
from typing import Any

from embeddings.images.decoding import Decoding
from embeddings.images.dicom.header import Header
from embeddings.images.errors import BadPixels
from embeddings.images.limits import (
    JPEG,
    PACKBITS,
    check_frames,
    check_memory,
    check_size,
    check_there,
    codestream_samples,
    codestream_size,
)

LOSSY_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")  # baseline and extended
KINDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT")
_RETIRED = ("HSV", "ARGB", "CMYK")


@dataclass(frozen=True)
class Layout:
    """The Image Pixel module.

    Attributes:
        kind: which element holds the pixels, one of `KINDS`.
        rows, columns, frames: of the picture.
        samples: of a pixel, 1 or 3.
        photometric: MONOCHROME1, RGB ...
        planar: 1 where colours are stored plane by plane.
        allocated, stored, high_bit: bits of a cell, of a value, and where in the cell the value's highest bit is (PS3.5, 8.1.1).
        signed: values are two's complement.
    """

    kind: str
    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    planar: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool

    @property
    def shift(self) -> int:
        """Bits of a cell below the value."""
        return self.high_bit + 1 - self.stored

    @property
    def least(self) -> int:
        """The smallest stored value possible."""
        return -(1 << self.stored - 1) if self.signed else 0

    @property
    def most(self) -> int:
        """The greatest stored value possible."""
        return int((1 << self.stored - self.signed) - 1)

    @property
    def floating(self) -> bool:
        """Whether the values are floating-point numbers."""
        return self.kind != "PixelData"

    @property
    def bytes(self) -> int:
        """Of all frames, uncompressed."""
        return self.frames * self.rows * self.columns * self.samples * self.allocated // 8


@dataclass(frozen=True)
class Encoded:
    """The pixels as they lie in the file.

    Attributes:
        data: all of them.
        syntax: transfer syntax, a pydicom UID.
        first: the codestream of the first frame; empty where pixels are not compressed.
    """

    data: bytes
    syntax: Any
    first: bytes


def layout_of(header: Header, encoded: Encoded) -> Layout:
    """The layout that a header gives. What it leaves out, or says wrong, is concluded from the rest and noted.

    Raises:
        BadPixels: it names no picture, or one of a kind that is not read.
    """
    kind = next(name for name in KINDS if name in header)
    rows, columns = (header.integer(name) for name in ("Rows", "Columns"))
    if not rows or not columns or min(rows, columns) < 1:
        raise BadPixels(f"{rows or 'no'} rows and {columns or 'no'} columns")
    frames = _frames(header, rows * columns, encoded)
    samples, photometric = _colour(header, frames * rows * columns, encoded)
    allocated = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(kind) or _allocated(
        header, frames * rows * columns * samples, encoded
    )
    stored, high_bit = _bits(header, allocated, encoded) if kind == "PixelData" else (allocated, allocated - 1)
    planar = _one_of(header, "PlanarConfiguration", (0, 1), 0) if samples == 3 else 0
    signed = kind == "PixelData" and _one_of(header, "PixelRepresentation", (0, 1), 0) == 1
    made = Layout(kind, rows, columns, frames, samples, photometric, planar, allocated, stored, high_bit, signed)
    if photometric == "YBR_FULL_422" and not encoded.first and 3 * rows * columns * frames <= len(encoded.data):
        header.note("PhotometricInterpretation YBR_FULL_422, but no chroma is left out: taken as YBR_FULL")
        return _with(made, photometric="YBR_FULL")
    return made


def unshifted(layout: Layout) -> Layout:
    """The same with values in the lowest bits of their cells."""
    return _with(layout, high_bit=layout.stored - 1)


def _with(layout: Layout, **changes: Any) -> Layout:
    return Layout(**{**layout.__dict__, **changes})


def _one_of(header: Header, keyword: str, allowed: tuple[int, ...], otherwise: int) -> int:
    """The value of an attribute, or what stands for it where it is missing or none of those allowed."""
    value = header.integer(keyword)
    if value in allowed:
        return int(value)
    header.note(f"{keyword} is {'missing' if value is None else value}: taken as {otherwise}")
    return otherwise


def _frames(header: Header, pixels: int, encoded: Encoded) -> int:
    value = header.integer("NumberOfFrames") if "NumberOfFrames" in header else 1
    if value is not None and value >= 0:
        return max(value, 1)  # 0 is common in files of one frame
    if encoded.first:
        from pydicom.encaps import generate_fragments

        frames = sum(fragment[:2] == encoded.first[:2] for fragment in generate_fragments(encoded.data))
    else:
        cell = (header.integer("SamplesPerPixel") or 1) * -(-(header.integer("BitsAllocated") or 8) // 8)
        frames = max(1, len(encoded.data) // max(1, pixels * cell))
    header.note(f"NumberOfFrames is no number: taken as {frames}")
    return frames


def _colour(header: Header, pixels: int, encoded: Encoded) -> tuple[int, str]:
    """Samples of a pixel, and the photometric interpretation."""
    photometric, samples = header.text("PhotometricInterpretation"), header.integer("SamplesPerPixel")
    if photometric in _RETIRED or samples in (2, 4):
        raise BadPixels(f"{photometric or 'no photometric interpretation'}, {samples} samples a pixel: expected 1 or 3")
    known = 3 if photometric in _COLOUR else 1 if photometric in _GREY else None
    there = _samples(header, pixels, encoded)
    coded = codestream_samples(encoded.first)[0] in (1, 3)  # a codestream is right, whatever the header says
    if samples not in (1, 3) or (known is not None and known != samples) or (coded and there != samples):
        right = there if coded or (known != there and samples in (1, 3)) else known or there
        if right != samples:
            header.note(f"SamplesPerPixel is {'missing' if samples is None else samples}: taken as {right}")
        samples = right
    if known != samples:
        instead = _photometric(header, samples, encoded)
        header.note(f"PhotometricInterpretation is {photometric[:20] or 'missing'}: taken as {instead}")
        photometric = instead
    return int(samples), photometric


def _photometric(header: Header, samples: int, encoded: Encoded) -> str:
    """What the photometric interpretation is most likely, where it is missing or contradicts the samples of a pixel."""
    if samples == 3:
        return "YBR_FULL_422" if encoded.syntax in LOSSY_JPEG else "RGB"  # what libjpeg takes three components for
    return "PALETTE COLOR" if "RedPaletteColorLookupTableDescriptor" in header else "MONOCHROME2"


def _samples(header: Header, pixels: int, encoded: Encoded) -> int:
    """As many samples a pixel as the pixels themselves tell."""
    if encoded.syntax.name == "RLE Lossless":  # has a segment for each byte of each sample, PS3.5 section G.2
        return 3 if int.from_bytes(encoded.first[:4], "little") % 3 == 0 else 1
    if encoded.first:
        return 3 if codestream_samples(encoded.first)[0] == 3 else 1
    return 3 if len(encoded.data) >= 3 * pixels * -(-(header.integer("BitsAllocated") or 8) // 8) else 1


def _allocated(header: Header, samples: int, encoded: Encoded) -> int:
    value = header.integer("BitsAllocated")
    if value:
        if value not in (1, 8, 16, 32, 64):
            raise BadPixels(f"{value} bits allocated are not read, expected 1, 8, 16, 32 or 64")
        return value
    cell = -(-codestream_samples(encoded.first)[1] // 8) if encoded.first else len(encoded.data) // max(1, samples)
    found = 8 * next((size for size in (4, 2) if cell >= size), 1)
    header.note(f"BitsAllocated is missing: taken as {found}")
    return found


def _bits(header: Header, allocated: int, encoded: Encoded) -> tuple[int, int]:
    """Bits stored and high bit, PS3.5 section 8.1.1.

    A decoder gives values of the codestream's precision, in the lowest bits of their cells: where that is not what the header
    places higher, the codestream counts.
    """
    stored = header.integer("BitsStored")
    if stored is None or not 1 <= stored <= allocated:
        header.note(f"BitsStored is {'missing' if stored is None else stored}: taken as {allocated}")
        stored = allocated
    high_bit = header.integer("HighBit")
    if high_bit is None or not stored - 1 <= high_bit < allocated:
        header.note(f"HighBit is {'missing' if high_bit is None else high_bit}: taken as {stored - 1}")
        return stored, stored - 1
    precision = codestream_samples(encoded.first)[1]
    return stored, high_bit if not precision or precision > high_bit else stored - 1


# Limits


def check_layout(layout: Layout, encoded: Encoded, size: int, decoding: Decoding) -> None:
    """All frames are within the limits, and no larger than their bytes can hold.

    Raises:
        TooManyPixels: they are too many or too large, or a compressed frame is larger than the file says.
        Truncated: there are too few bytes.
    """
    from pydicom.encaps import generate_fragments

    pixels = layout.rows * layout.columns
    bits = layout.allocated * layout.samples
    check_size(layout.columns, layout.rows, decoding.max_pixels)
    # pydicom gives all frames that uncompressed pixels hold, also more than NumberOfFrames
    there = 0 if encoded.syntax.is_encapsulated else 8 * len(encoded.data) // (pixels * bits)
    frames = max(layout.frames, there)
    check_frames(frames, frames * pixels, decoding)
    # stored twice, and once more where bits are shifted; a mask, what is shown, and grey; more where colour is computed with
    # floats, or percentiles need a copy
    each = bits // 4 + (bits // 8 if layout.shift else 0) + (30 if layout.samples > 1 else 6 if bits <= 16 else 22)
    check_memory(2 * size + pixels * each, decoding)
    if not encoded.syntax.is_encapsulated:
        subsampled = layout.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422")  # half of the chroma is stored
        check_there(layout.bytes * 2 // 3 if subsampled else layout.bytes, len(encoded.data))
        return
    if encoded.syntax.name == "RLE Lossless":
        check_there(layout.bytes, len(encoded.data) * PACKBITS)
    elif "JPEG" in encoded.syntax.name and "2000" not in encoded.syntax.name and "-LS" not in encoded.syntax.name:
        check_there(layout.frames * pixels, len(encoded.data) * JPEG)  # the other two know no bound
    for fragment in generate_fragments(encoded.data):
        across, down = codestream_size(fragment)
        check_size(across, down, decoding.max_pixels)
        check_memory(2 * size + across * down * each, decoding)
