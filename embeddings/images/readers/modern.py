"""Decode JPEG 2000, AVIF and HEIC: Pillow, OpenJPEG through imagecodecs for more than 8 bits, libheif through pi-heif."""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image
from PIL.ImageFile import ImageFile

from embeddings.images import limits
from embeddings.images.decoding import Decoding
from embeddings.images.errors import BadPixels, MissingExtra, NotAnImage
from embeddings.images.samples import colour_as_grey, grey_of
from embeddings.types import GreyImage

FORMATS = "pip install 'synthtrace[formats]'"
_AVIF, _HEIC = {b"avif", b"avis"}, {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_JPEG2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")


def kind_of(head: bytes) -> str:
    """``jpeg2000``, ``avif`` or ``heic``, by the start of a file; empty for others."""
    if head.startswith(_JPEG2000):
        return "jpeg2000"
    if head[4:8] != b"ftyp":
        return ""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))}
    return "avif" if brands & _AVIF else "heic" if brands & _HEIC else ""


def avif(file: BinaryIO) -> ImageFile:
    """An AVIF file as Pillow opens it, decoded by one thread.

    Raises:
        BadPixels: this build of Pillow cannot.
    """
    from PIL import AvifImagePlugin, features

    if not features.check("avif"):
        raise BadPixels("this build of Pillow does not read AVIF: install Pillow from PyPI")
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each takes memory, and nothing else here decodes AVIF
    return AvifImagePlugin.AvifImageFile(file)


def jpeg2000(file: BinaryIO) -> ImageFile:
    """A JPEG 2000 file as Pillow opens it."""
    from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

    return Jpeg2KImageFile(file)


def check_jpeg2000(data: bytes, decoding: Decoding) -> bool:
    """Whether all samples have at most 8 bits and no sign, so that Pillow reads them.

    Raises:
        ImageError: the picture is beyond the limits, or there is none.
    """
    width, height = limits.jpeg2000_size(data)
    at = data.find(b"\xff\x4f\xff\x51")
    if not width or not height or at + 42 > len(data):
        raise NotAnImage("a JPEG 2000 file without a picture")
    (components,) = struct.unpack_from(">H", data, at + 40)
    limits.check_size(width, height, decoding.max_pixels)
    limits.check_memory(len(data) + width * height * (12 * components + 8), decoding)  # OpenJPEG computes with 32 bits
    return all(depth < 8 for depth in data[at + 42 : at + 42 + 3 * components : 3])  # a sign is bit 7


def deep_jpeg2000(data: bytes, decoding: Decoding) -> tuple[GreyImage, str]:
    """A JPEG 2000 picture of more than 8 bits, or of signed values, as grey; and its mode.

    Raises:
        BadPixels: it cannot be decoded, or has two values a pixel.
    """
    import imagecodecs

    values = imagecodecs.jpeg2k_decode(data, numthreads=1)
    bits = 8 * values.dtype.itemsize
    if values.ndim == 2:
        return grey_of(values, bits, decoding), str(values.dtype)
    if values.ndim != 3 or values.shape[2] < 3:
        return grey_of(values[..., 0], bits, decoding), str(values.dtype)
    return colour_as_grey(values[..., :3], bits, decoding), f"{values.dtype} x {values.shape[2]}"


def heic(data: bytes, decoding: Decoding) -> Iterator[Image.Image]:
    """The pictures of a HEIC file, turned upright by libheif.

    Raises:
        MissingExtra: pi-heif is not installed.
        ImageError: they are beyond the limits.
    """
    try:
        import pi_heif
    except ImportError as error:
        raise MissingExtra(f"HEIC needs pi-heif: {FORMATS}") from error
    pi_heif.options.DECODE_THREADS = 1
    file = pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    pixels = [image.size[0] * image.size[1] for image in file]
    limits.check_frames(len(pixels), sum(pixels), decoding)
    for image in file:
        width, height = image.size
        limits.check_size(width, height, decoding.max_pixels)
        limits.check_memory(len(data) + width * height * 24, decoding)
        yield image.to_pillow()
