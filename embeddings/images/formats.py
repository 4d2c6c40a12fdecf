"""Decode the bytes of an image file to frames: Pillow's formats here, others in files of their own.

Whatever a hostile file makes a decoder raise comes out as an `ImageError`. A decoder may also crash, hang or allocate without
end: that is why only the children of `embeddings.images.workers` call this on files. Nothing here changes global state.
"""

import gzip
import io
import itertools
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from embeddings.images import limits
from embeddings.images.decoding import DICOM_HEAD, DICOM_SUFFIXES, NIFTI_SUFFIXES, VOLUME_SUFFIXES, Decoding, Frame, is_dicom
from embeddings.images.errors import (
    BadPixels,
    EmptyFile,
    ImageError,
    NotAnImage,
    TooManyPixels,
    Truncated,
    Unreadable,
    error_text,
)
from embeddings.images.pairs import HEADERS
from embeddings.images.windowing import window, window_limits
from embeddings.types import GreyImage


def decode_bytes(data: bytes, name: str, decoding: Decoding, voxels: bytes | None = None) -> Iterator[Frame]:
    """Every frame of an image file, one at a time; see `embeddings.images.decode.decode`.

    Args:
        data: the bytes of the file.
        name: of the file: its suffix tells NIfTI, and DICOM without its preamble; empty where only the content is to decide.
        decoding: how pixels become grey, and the limits.
        voxels: the bytes of the other file, where the data are the header of a pair (`embeddings.images.pairs`).

    Raises:
        ImageError: before or while iterating.
    """
    try:
        if voxels is None:
            yield from _frames(data, (name or f"upload{_nifti_suffix(data)}").lower(), decoding)
        else:
            yield from _pair_frames(data, voxels, decoding)
    except ImageError:
        raise
    except Exception as error:  # whatever a decoder throws at a hostile file
        raise as_image_error(error) from error


def _frames(data: bytes, name: str, decoding: Decoding) -> Iterator[Frame]:
    """The frames, by the reader that the content asks for."""
    if not data:
        raise EmptyFile("the file is empty")
    limits.check_memory(len(data), decoding)
    reader = _pillow_reader(data[:DICOM_HEAD])
    if is_dicom(data[:DICOM_HEAD]) or (name.endswith(DICOM_SUFFIXES) and not reader):  # old files lack the preamble
        from embeddings.images.dicom.decode import decode_dicom

        return decode_dicom(data, decoding)
    if name.endswith(HEADERS):
        return _pair_frames(data, b"", decoding)
    if name.endswith(NIFTI_SUFFIXES):
        from embeddings.images.nifti import decode_nifti

        return decode_nifti(data, name, decoding)
    if name.endswith(VOLUME_SUFFIXES) and not reader:
        raise BadPixels("MetaImage and NRRD are read from files of their own: unpack it")
    if data.startswith(b"\x93NUMPY"):
        return _decode_array(data, decoding)
    if reader is TiffImageFile:
        return _decode_tiff(data, decoding)
    if reader:
        return _decode_pillow(reader, data, decoding)
    return _decode_modern(data, decoding)


def _decode_array(data: bytes, decoding: Decoding) -> Iterator[Frame]:
    """The frames of an .npy file."""
    from embeddings.images.containers.arrays import grey_frame, reading_of, stack_of

    stack = stack_of(lambda start, count: data[start : start + count], len(data), decoding)
    *_, reading = reading_of(stack, decoding)
    return (grey_frame(stack.frame(number), reading, decoding) for number in range(stack.frames))


def _decode_modern(data: bytes, decoding: Decoding) -> Iterator[Frame]:
    """JPEG 2000, AVIF or HEIC."""
    from embeddings.images.readers import modern

    kind = modern.kind_of(data[:512])
    if kind == "jpeg2000":
        if modern.check_jpeg2000(data, decoding):
            return _read_pillow(modern.jpeg2000, data, decoding.max_pixels, decoding)
        return iter([Frame(*modern.deep_jpeg2000(data, decoding))])
    if kind == "avif":
        return _read_pillow(modern.avif, data, decoding.max_pixels, decoding)
    if kind == "heic":
        return (Frame(grey(image, decoding), image.mode) for image in modern.heic(data, decoding))
    raise NotAnImage("the content is no image of a kind that is read here (docs/FORMATS.md lists them)")


def _pair_frames(header: bytes, voxels: bytes, decoding: Decoding) -> Iterator[Frame]:
    """The frames of a pair of files."""
    from embeddings.images.nifti import decode_pair

    limits.check_memory(len(header) + len(voxels), decoding)
    return decode_pair(header, voxels, decoding)


def _nifti_suffix(data: bytes) -> str:
    """What the name of a NIfTI file would end with; nothing for other content."""
    head = data[:352]
    zipped = head.startswith(b"\x1f\x8b")
    if zipped:
        try:
            head = zlib.decompressobj(wbits=31).decompress(data[:4096], 352)
        except zlib.error:
            return ""
    if head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2"):
        return ".nii.gz" if zipped else ".nii"
    return ""


_UNSUPPORTED = ("unsupported", "not supported", "cannot handle", "does not support", "unknown pixel mode")
_DAMAGED = (EOFError, OSError, SyntaxError, struct.error, zlib.error, gzip.BadGzipFile, IndexError)


_NONSENSE = "its header contradicts itself or its contents"  # where a library stumbled over it instead of saying so
_STUMBLES = ("could not convert", "invalid literal", "reshape", "broadcast", "unpack", "buffer size", "buffer is smaller")


def _internal(error: Exception) -> bool:
    """Whether the text of an error is about Python instead of the file."""
    if isinstance(
        error, TypeError | AttributeError | LookupError | ArithmeticError | AssertionError | RecursionError | struct.error
    ):
        return True
    return isinstance(error, ValueError) and any(word in str(error) for word in _STUMBLES)


def as_image_error(error: Exception, path: str = "") -> ImageError:
    """The one of our errors that says what a library's error means."""
    reason = _NONSENSE if _internal(error) else error_text(error, path)
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


# Grey


def grey(image: Image.Image, decoding: Decoding) -> GreyImage:
    """A loaded Pillow image as (H, W) uint8, as the head of this file says.

    Raises:
        BadPixels: see `window_limits`.
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
    return window(values, *window_limits(values, decoding))


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


# Bytes a pixel that decoding takes: Pillow's image, a turned copy, what `grey` makes of it, and buffers of most formats' own;
# `limits.check_webp` counts those of WebP.
_BYTES = {"1": 6, "L": 6, "I;16": 10, "I;16B": 10, "I": 20, "F": 20}
_OTHERS = 14
_SINGLE = (PngImageFile, JpegImageFile, BmpImageFile)  # these know without a search how many frames there are


def _decode_pillow(reader: Callable[[BinaryIO], ImageFile], data: bytes, decoding: Decoding) -> Iterator[Frame]:
    limit = decoding.max_pixels
    if reader in (GifImageFile, WebPImageFile):  # these check by themselves, with a warning
        limit = min(limit, Image.MAX_IMAGE_PIXELS or limit)
    _check_declared(reader, data, limit, decoding)
    return _read_pillow(reader, data, limit, decoding)


def _decode_tiff(data: bytes, decoding: Decoding) -> Iterator[Frame]:
    """By Pillow where it reads the file right."""
    from embeddings.images.readers import tiff

    pages = limits.check_tiff(data, decoding.max_pixels, decoding)
    if data[2:4] in (b"+\0", b"\0+") or not tiff.pillow_reads(pages):  # BigTIFF of one byte order Pillow misreads
        return tiff.decode_tiff(data, decoding)
    return _read_pillow(TiffImageFile, data, min(decoding.max_pixels, Image.MAX_IMAGE_PIXELS or decoding.max_pixels), decoding)


def _read_pillow(reader: Callable[[BinaryIO], ImageFile], data: bytes, limit: int, decoding: Decoding) -> Iterator[Frame]:
    file = io.BytesIO(data)
    with reader(file) as image:
        start = file.tell()
        for index in itertools.count():
            try:
                image.seek(index)
            except EOFError:
                return
            limits.check_size(*image.size, limit)
            limits.check_frames(index + 1, (index + 1) * image.width * image.height, decoding)
            limits.check_memory(image.width * image.height * _BYTES.get(image.mode, _OTHERS) + len(data), decoding)
            if image.tile and image.tile[0].args == "LA;16B":
                raise BadPixels("16-bit grey with alpha: Pillow drops the low byte")
            image.load()
            if reader is JpegImageFile and data.find(b"\xff\xd9", start) < 0:
                # Pillow is content once it has all rows, although bits of the last ones may be gone with the end marker
                raise Truncated("cut short or damaged: the JPEG has no end marker")
            single = reader in _SINGLE and getattr(image, "n_frames", 1) == 1
            yield Frame(grey(_upright(image), decoding), image.mode, last=single)


def _check_declared(reader: Callable[[BinaryIO], ImageFile], data: bytes, limit: int, decoding: Decoding) -> None:
    if reader is PngImageFile:
        limits.check_png(data, decoding)
    elif reader is GifImageFile:
        limits.check_gif(data, limit, decoding)
    elif reader is WebPImageFile:
        limits.check_webp(data, limit, decoding)
    elif reader is BmpImageFile:
        limits.check_bmp(data, decoding)
    else:
        limits.check_jpeg(data, decoding)


def _upright(image: ImageFile) -> Image.Image:
    """The image as its EXIF orientation says; itself where that says nothing."""
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # broken metadata: the pixels are good, and nothing says how to turn them
        return image
    return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image
