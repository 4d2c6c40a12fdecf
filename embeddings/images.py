"""Decode images to 8-bit grey; one typed error for each way a file can be bad.

How pixels become grey (the settings are in `Decoding`):

- 8-bit grey passes untouched; colour goes through Pillow's ``convert("L")`` (ITU-R 601 luma); ICC profiles are not applied.
- Alpha, and transparent entries of a palette, are composited on black. A colour key of a grey or RGB image is not alpha.
- EXIF orientation is applied; an EXIF block that cannot be read counts as none.
- Deeper grey (16-bit, 32-bit, float) is windowed explicitly, never clipped. Of 16-bit colour the high byte is kept,
  as it is made for display.
- DICOM and NIfTI: see `embeddings.medical`, which is imported when the first such file is met.

Nothing here changes global state; all of it is thread-safe.
"""

import itertools
import math
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from embeddings.types import GreyImage

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", *DICOM_SUFFIXES, *NIFTI_SUFFIXES)


class ImageError(Exception):
    """An image cannot be used. The text is the reason in one line, without the path; ``mend`` says what would help."""

    mend = ""


class EmptyFile(ImageError):
    """The file has no bytes."""

    mend = "copy the file again"


class NotAnImage(ImageError):
    """The content is not that of any image format read here, whatever the name says."""

    mend = "remove the file, or convert it to PNG"


class Truncated(ImageError):
    """The file starts as an image but is cut short or damaged."""

    mend = "copy the file again"


class TooManyPixels(ImageError):
    """The declared size is above the limit, or decoding needs more memory than there is."""

    mend = "raise max_pixels if the file is to be trusted"


class Unreadable(ImageError):
    """The file cannot be read: no permission, vanished, a link loop, not a regular file."""

    mend = "check the path and its permissions"


class MissingExtra(ImageError):
    """The format needs packages that are not installed; the text names the pip extra."""

    mend = "pip install 'synthtrace[medical]'"


class BadPixels(ImageError):
    """The file is sound, its pixels are of no use: all NaN, no pixel data, an unsupported pixel mode or transfer syntax."""

    mend = "convert the file to 8-bit PNG"


class NoImages(Exception):
    """Nothing was found at all; the text names what was searched and what was looked for."""


@dataclass(frozen=True)
class Decoding:
    """How pixels become 8-bit grey; part of every fingerprint.

    Attributes:
        low, high: percentiles of the finite values of a frame (NIfTI: of a volume) that become 0 and 255 where
            data is deeper than 8 bits and has no window; minimum and maximum where the two percentiles are equal.
        centre, width: a fixed window instead: centre - width / 2 becomes 0, centre + width / 2 becomes 255. In HU
            for CT in DICOM, in scaled values for NIfTI, in stored values for deep TIFF and PNG. 8-bit PNG, JPEG and the
            like are never windowed.
        axis: NIfTI slicing: 0 sagittal, 1 coronal, 2 axial.
        max_pixels: of one frame; a NIfTI volume may have ten times as many voxels. For TIFF, GIF and WebP
            ``PIL.Image.MAX_IMAGE_PIXELS`` holds as well, because Pillow itself insists on it.

    Raises:
        ValueError: a setting is out of range.
    """

    low: float = 0.5
    high: float = 99.5
    centre: float | None = None
    width: float | None = None
    axis: int = 2
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        for name in ("low", "high", "centre", "width"):  # 1 and 1.0 must give one fingerprint
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, float(value))
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(f"percentiles must be 0 <= low < high <= 100, got low {self.low}, high {self.high}")
        if (self.centre is None) != (self.width is None):
            raise ValueError(f"centre and width go together, got centre {self.centre}, width {self.width}")
        if self.centre is not None and self.width is not None and not (math.isfinite(self.centre) and 0 < self.width < math.inf):
            raise ValueError(f"centre must be finite and width positive, got centre {self.centre}, width {self.width}")
        if self.axis not in (0, 1, 2):
            raise ValueError(f"axis must be 0, 1 or 2, got {self.axis}")
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be positive, got {self.max_pixels}")

    @property
    def window(self) -> tuple[float, float] | None:
        """The values that become 0 and 255 under the fixed window; None where there is none."""
        if self.centre is None or self.width is None:
            return None
        return self.centre - self.width / 2, self.centre + self.width / 2

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON-able values; ``Decoding(**values)`` reads them back."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded picture.

    Attributes:
        pixels: (H, W) uint8, C order, writeable, its own memory.
        mode: pixel mode or photometric interpretation as stored: ``L``, ``RGB``, ``I;16``, ``MONOCHROME1``, ``int16`` ...
    """

    pixels: GreyImage
    mode: str


def printable(name: str) -> str:
    r"""The name as valid Unicode: bytes that are not UTF-8 are written as ``\xff``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def frame_name(path: str, frame: int, frames: int) -> str:
    """Printable name of a frame: ``a.tif`` where the file has one, else ``a.tif#3``, counted from 0."""
    return printable(path) if frames == 1 else f"{printable(path)}#{frame}"


# Decoding


def flip(image: GreyImage) -> GreyImage:
    """The image mirrored left to right."""
    return np.ascontiguousarray(image[:, ::-1])


def is_dicom(head: bytes) -> bool:
    """Whether a file that starts with these 132 bytes is DICOM."""
    return head[128:132] == b"DICM"


def decode(path: Path, decoding: Decoding) -> Iterator[Frame]:
    """Every frame of an image file, one at a time: pages, animation frames, DICOM frames, slices of NIfTI volumes in turn.

    The content decides the format, except that NIfTI goes by its suffix.

    Raises:
        ImageError: before or while iterating; nothing else comes out of a hostile file, exhausted memory included. A
            frame that came out before is good by itself, the file is not.
    """
    try:
        yield from _frames(path, decoding)
    except ImageError:
        raise
    except Exception as error:  # whatever a decoder throws at a hostile file
        raise _as_image_error(error, path) from error


def _frames(path: Path, decoding: Decoding) -> Iterator[Frame]:
    """Open the file and hand it to the reader that its content asks for."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a FIFO would wait for ever
        raise Unreadable("not a regular file")
    with open(path, "rb") as file:
        head = file.read(132)
        file.seek(0)
        name = path.name.lower()
        if not head:
            raise EmptyFile("the file is empty")
        reader = _pillow_reader(head)
        if is_dicom(head) or (name.endswith(DICOM_SUFFIXES) and not reader):  # old files lack the preamble
            from embeddings.medical import decode_dicom

            yield from decode_dicom(file, decoding)
        elif name.endswith(NIFTI_SUFFIXES):
            from embeddings.medical import decode_nifti

            yield from decode_nifti(path, head, decoding)
        elif reader:
            yield from _decode_pillow(reader, file, decoding)
        else:
            raise NotAnImage("the content is not PNG, JPEG, TIFF, BMP, WebP, GIF or DICOM")


_UNSUPPORTED = ("unsupported", "not supported", "cannot handle", "does not support", "unknown pixel mode")
_DAMAGED = (EOFError, OSError, SyntaxError, struct.error, zlib.error, IndexError)


def _as_image_error(error: Exception, path: Path) -> ImageError:
    """The one of our errors that says what a library's error means."""
    reason = error_text(error, os.fspath(path))
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return TooManyPixels(reason)
    if isinstance(error, MemoryError):
        return TooManyPixels("decoding needs more memory than there is")
    if isinstance(error, OSError) and error.errno is not None:
        return Unreadable(reason)
    if any(word in reason.lower() for word in _UNSUPPORTED):
        return BadPixels(f"a kind of image that is not read here: {reason}")
    if isinstance(error, _DAMAGED) or "less than expected" in reason:
        return Truncated(f"cut short or damaged: {reason}")
    return BadPixels(f"cannot be decoded: {reason}")


def error_text(error: Exception, path: str) -> str:
    """What an error says, in one printable line without the path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error).replace(path, "the file")
    return printable(" ".join(text.split()))[:200] or type(error).__name__


def check_size(width: int, height: int, limit: int) -> None:
    """Raises TooManyPixels where a picture is larger than the limit."""
    if width * height > limit:
        raise TooManyPixels(f"{width} x {height} pixels declared, at most {limit} are allowed")


# Grey values


def window(values: NDArray[Any], low: float, high: float) -> GreyImage:
    """Linear map of low..high to 0..255, rounded half up, clipped.

    Args:
        values: any shape, any real dtype. NaN becomes 0.
        low, high: what becomes 0 and 255. Where they are equal all becomes 0.

    Returns:
        uint8 of the same shape, C order.

    Raises:
        BadPixels: high - low is not finite.
    """
    span = high - low
    if not math.isfinite(span):
        raise BadPixels(f"values from {low:.4g} to {high:.4g} cannot be windowed")
    if span <= 0:
        return np.zeros(values.shape, np.uint8)
    with np.errstate(all="ignore"):
        scaled = (values.astype(np.float64, order="C") - low) / span * 255 + 0.5
    # fmax rather than clip, because it turns NaN into 0
    grey: GreyImage = np.fmin(np.fmax(scaled, 0), 255).astype(np.uint8)
    return grey


def limits(values: NDArray[Any], decoding: Decoding) -> tuple[float, float]:
    """The fixed window, or the two percentiles of the finite values; their extremes where the percentiles are equal.

    Raises:
        BadPixels: values are not real numbers, or none of them is finite.
    """
    if values.dtype.kind not in "buif":
        raise BadPixels(f"pixels of type {values.dtype} are not real numbers")
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        raise BadPixels("no pixel has a finite value")
    if decoding.window is not None:
        return decoding.window
    with np.errstate(all="ignore"):
        low, high = np.percentile(finite, (decoding.low, decoding.high))
    if low == high:  # a small bright structure on an even ground
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def grey(image: Image.Image, decoding: Decoding) -> GreyImage:
    """A loaded Pillow image as (H, W) uint8, as the head of this file says.

    Raises:
        BadPixels: see `limits`.
        ValueError: Pillow has no way from this mode to grey.
    """
    if image.mode in ("I", "F", "I;16", "I;16B"):
        return _deep_grey(image, decoding)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    elif image.mode == "La":
        image = image.convert("LA")
    luma: GreyImage = np.array(image if image.mode == "L" else image.convert("L"))
    if image.mode not in ("LA", "RGBA"):
        return luma
    alpha = np.asarray(image.getchannel("A"), np.uint16)
    return ((luma * alpha + 127) // 255).astype(np.uint8)


def _deep_grey(image: Image.Image, decoding: Decoding) -> GreyImage:
    values = np.asarray(image)
    white_is_zero = False
    if isinstance(image, TiffImageFile):  # two things that Pillow leaves to its caller
        white_is_zero = image.tag_v2.get(262) == 0
        if image.mode == "I" and image.tag_v2.get(258) == (32,) and image.tag_v2.get(339, (1,)) == (1,):
            values = values.view(np.uint32)
    out = window(values, *limits(values, decoding))
    return 255 - out if white_is_zero else out


# Pillow's formats


def _pillow_reader(head: bytes) -> Callable[[BinaryIO], ImageFile] | None:
    """The plug-in for a file that starts so.

    Not ``Image.open``: it warns of sizes that `Decoding` allows, a warning cannot be silenced for one thread alone, and it
    would try dozens of formats, some of which run other programs.
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if head.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return TiffImageFile
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GifImageFile
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WebPImageFile
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124):
        return BmpImageFile
    return None


def _decode_pillow(reader: Callable[[BinaryIO], ImageFile], file: BinaryIO, decoding: Decoding) -> Iterator[Frame]:
    limit = decoding.max_pixels
    if reader in (TiffImageFile, GifImageFile, WebPImageFile):  # these check by themselves, with a warning
        limit = min(limit, Image.MAX_IMAGE_PIXELS or limit)
    if reader is GifImageFile:
        _check_gif(file, limit)
    if reader is TiffImageFile:
        _check_tiff(file)
    with reader(file) as image:
        start = file.tell()
        for index in itertools.count():
            try:
                image.seek(index)
            except EOFError:
                return
            check_size(*image.size, limit)
            if image.tile and image.tile[0].args == "LA;16B":
                raise BadPixels("16-bit grey with alpha: Pillow drops the low byte")
            image.load()
            if reader is JpegImageFile:
                _check_jpeg_end(file, start)
            yield Frame(grey(_upright(image), decoding), image.mode)


def _upright(image: ImageFile) -> Image.Image:
    """The image as its EXIF orientation says; itself where that says nothing."""
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # broken metadata: the pixels are good, and nothing says how to turn them
        return image
    return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image


def _check_jpeg_end(file: BinaryIO, scan: int) -> None:
    """Pillow is content once it has all rows, although bits of the last ones may be gone with the end marker."""
    file.seek(scan)
    if b"\xff\xd9" not in file.read():
        raise Truncated("cut short or damaged: the JPEG has no end marker")


def _check_gif(file: BinaryIO, limit: int) -> None:
    """Walk the blocks of a GIF: Pillow takes a missing rest for the end of the animation, and grows the picture as frames ask.

    Raises:
        TooManyPixels: the screen or a frame goes beyond the limit.
        Truncated: the file ends before its end mark.
    """
    head = file.read(13)
    width, height = struct.unpack("<HH", head[6:10])
    file.seek(_gif_palette(head[10]), os.SEEK_CUR)
    while (kind := file.read(1)) != b";":
        if kind == b",":
            left, top, across, down, flags = struct.unpack("<4HB", file.read(9))
            width, height = max(width, left + across), max(height, top + down)
            check_size(width, height, limit)
            file.seek(_gif_palette(flags), os.SEEK_CUR)
        if kind in (b",", b"!"):
            file.seek(1, os.SEEK_CUR)  # code size, or label of the extension
            while length := file.read(1)[0]:
                file.seek(length, os.SEEK_CUR)
        elif not kind:
            raise Truncated("cut short or damaged: the GIF has no end mark")
    file.seek(0)


def _gif_palette(flags: int) -> int:
    """Bytes of the palette that the flags announce."""
    return 3 << (flags & 7) + 1 if flags & 128 else 0


_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # of a type


def _check_tiff(file: BinaryIO) -> None:
    """Walk the directories of a TIFF: of one cut short Pillow takes the tags that are left, and so loses pages or misreads them.

    Raises:
        Truncated: a directory, or the values of a tag, go beyond the end of the file.
    """
    order = "<" if file.read(2) == b"II" else ">"
    size = file.seek(0, os.SEEK_END)
    big = 43 in _unpack(file, 2, order + "H")
    count, entry, pointer = ("Q", "HHQQ", "Q") if big else ("H", "HHLL", "L")
    (offset,) = _unpack(file, 8 if big else 4, order + pointer)
    seen = set()
    while offset and offset not in seen:  # Pillow ends at a loop too
        seen.add(offset)
        (entries,) = _unpack(file, offset, order + count)
        offset += struct.calcsize(order + count)
        for _ in range(entries):
            _, kind, values, place = _unpack(file, offset, order + entry)
            needed = _TIFF_BYTES.get(kind, 0) * values
            if needed > struct.calcsize(order + pointer) and place + needed > size:
                raise Truncated("cut short or damaged: a TIFF tag lies beyond the end of the file")
            offset += struct.calcsize(order + entry)
        (offset,) = _unpack(file, offset, order + pointer)
    file.seek(0)


def _unpack(file: BinaryIO, offset: int, layout: str) -> tuple[int, ...]:
    """The numbers at an offset; struct.error where the file ends before."""
    file.seek(offset)
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
