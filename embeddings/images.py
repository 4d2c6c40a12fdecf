"""Find images and decode them to 8-bit grey; one typed error for each way a file can be bad.

How pixels become grey (the settings are in `Decoding`):

- 8-bit grey passes untouched; colour goes through Pillow's ``convert("L")`` (ITU-R 601 luma); ICC profiles are not applied.
- Alpha, and transparent entries of a palette, are composited on black. A colour key of a grey or RGB image is not alpha.
- EXIF orientation is applied; an EXIF block that cannot be read counts as none.
- Deeper grey (16-bit, 32-bit, float) is windowed explicitly, never clipped. Of 16-bit colour the high byte is kept,
  as it is made for display.
- DICOM: rescale slope and intercept (or modality LUT), then a window; MONOCHROME1 is inverted. VOI LUT sequences are not applied.
- NIfTI: axes are brought to the closest RAS+ order, so that axis 2 is axial in every file, and a slice is then laid out as
  DICOM shows it: columns run to the patient's left (sagittal: to the back), rows to the back (sagittal, coronal: to the feet).
  That permutes and flips voxels and never resamples.

pydicom and nibabel are imported when the first such file is met. Nothing here changes global state; all of it is thread-safe.
"""

import gzip
import itertools
import math
import os
import stat
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

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

_EXTRA = "pip install 'synthtrace[medical]'"
_VOLUME_FRAMES = 10  # a NIfTI volume is held in memory whole: at most so many times max_pixels voxels
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


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

    mend = _EXTRA


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


@dataclass(frozen=True)
class Source:
    """What the user pointed at.

    Attributes:
        root: absolute folder that the names are relative to: the folder given, or the common parent of all inputs.
        files: POSIX paths relative to root, sorted by code point, unique. A name that is not valid UTF-8 keeps
            Python's surrogate escapes, so that ``root / name`` opens it; `printable` makes it fit to store or show.
        ignored: files (and hidden folders, unopened) left aside because their suffix is no image's or they are hidden.
        broken: (relative path made printable, reason) of what could not be looked at: unreadable folder, link loop, missing
            listed file, a device with an image's name.
    """

    root: Path
    files: tuple[str, ...]
    ignored: int
    broken: tuple[tuple[str, str], ...]


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


# Finding


def find(*inputs: str | Path, stdin: TextIO | None = None) -> Source:
    """The images that the inputs name.

    Args:
        inputs: folders (searched recursively, links followed), image files, ``@list.txt`` for a list file, ``-`` for a list on
            standard input. A list has one path a line, relative to the list's folder or to the working folder; blank lines
            do not count. A file that is named is taken whatever its suffix; in folders, `SUFFIXES` in any case and DICOM
            files without suffix (or with a UID for a name) are taken. A file really named ``@x`` is given as ``./@x``.
        stdin: what ``-`` reads instead of standard input.

    Raises:
        NoImages: an input does not exist, or there is no image and nothing broken either.
    """
    search = _Search()
    for given in [os.fspath(path) for path in inputs]:
        if given == "-":
            search.add_lines(_text(stdin or sys.stdin), os.getcwd())
        elif given.startswith("@"):
            search.add_lines(_list_text(given[1:]), os.path.dirname(os.path.abspath(given[1:])))
        elif not os.path.lexists(given):
            raise NoImages(f"{printable(given)}: no such file or folder")
        else:
            search.add(os.path.abspath(given))
    if not search.files and not search.broken:
        asked = ", ".join(printable(os.fspath(given)) for given in inputs) or "no folder or file was given"
        raise NoImages(
            f"{asked}: no image found among {len(search.ignored)} other files; looked for {' '.join(SUFFIXES)} "
            "in any case, and for DICOM files without suffix"
        )
    return search.source()


class _Search:
    """Absolute paths found so far, by fate."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.ignored: set[str] = set()
        self.broken: dict[str, str] = {}
        self.roots: list[str] = []

    def add_lines(self, text: str, folder: str) -> None:
        """Every line of a list, relative to the folder."""
        self.roots.append(folder)
        for line in text.split("\n"):
            if line := line.removesuffix("\r"):
                self.add(os.path.abspath(os.path.join(folder, line)))

    def add(self, path: str) -> None:
        """A path that somebody named: never left aside."""
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            mode = 0
            self.broken[path] = _reason(error, path)
        self.roots.append(path if stat.S_ISDIR(mode) else os.path.dirname(path))
        if stat.S_ISDIR(mode):
            self.walk(path)
        elif stat.S_ISREG(mode):
            self.files.add(path)
        else:
            self.broken.setdefault(path, "not a regular file")

    def walk(self, top: str) -> None:
        """All below a folder. A link back to a folder that is being searched is broken; one to elsewhere is followed."""
        stack: list[tuple[str, tuple[tuple[int, int], ...]]] = [(top, ())]
        while stack:
            folder, above = stack.pop()
            try:
                status = os.stat(folder)
                here = (status.st_dev, status.st_ino)
                if here in above:
                    self.broken[folder] = "link loop: leads back to a folder that it lies in"
                    continue
                with os.scandir(folder) as entries:
                    stack.extend((entry.path, (*above, here)) for entry in entries if self.sort_entry(entry))
            except OSError as error:
                self.broken[folder] = _reason(error, folder)

    def sort_entry(self, entry: os.DirEntry[str]) -> bool:
        """Put a folder's entry where it belongs; True where it is a folder to search."""
        name = entry.name.lower()
        image = name.endswith(SUFFIXES)
        if name.startswith(".") or name in ("__macosx", "dicomdir"):  # a DICOMDIR is an index without pixels
            self.ignored.add(entry.path)
            return False
        suffix = name.rpartition(".")[2] if "." in name else ""
        suffixless = not suffix or suffix.isdigit()  # DICOM files are often named by a UID: 1.2.840.113619
        try:
            if entry.is_dir():
                return True
            if not entry.is_file():
                if image or suffixless:
                    os.stat(entry.path)  # says why a link leads nowhere
                if image:
                    self.broken[entry.path] = "not a regular file"
                    return False
            elif image or (suffixless and _has_dicom_magic(entry.path)):
                self.files.add(entry.path)
                return False
            self.ignored.add(entry.path)
        except OSError as error:
            self.broken[entry.path] = _reason(error, entry.path)
        return False

    def source(self) -> Source:
        """All of it, relative to the common parent."""
        root = os.path.commonpath(self.roots)
        start = len(root.rstrip(os.sep)) + 1

        def relative(path: str) -> str:
            return path[start:].replace(os.sep, "/") or "."

        return Source(
            root=Path(root),
            files=tuple(sorted(map(relative, self.files))),
            ignored=len(self.ignored - self.files),
            broken=tuple(sorted((printable(relative(path)), reason) for path, reason in self.broken.items())),
        )


def _text(stream: TextIO) -> str:
    """All of a stream; from its bytes where it has them, so that names that are not UTF-8 survive."""
    raw = getattr(stream, "buffer", None)
    return stream.read() if raw is None else raw.read().decode("utf-8-sig", "surrogateescape")


def _list_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            return _text(file)
    except OSError as error:
        raise NoImages(f"{printable(path)}: the list of images cannot be read: {_reason(error, path)}") from error


def _has_dicom_magic(path: str) -> bool:
    with open(path, "rb") as file:
        return _is_dicom(file.read(132))


def _is_dicom(head: bytes) -> bool:
    return head[128:132] == b"DICM"


# Decoding


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
        if _is_dicom(head):
            yield from _decode_dicom(file, decoding)
        elif name.endswith(NIFTI_SUFFIXES):
            yield from _decode_nifti(path, head, decoding)
        elif reader := _pillow_reader(head):
            yield from _decode_pillow(reader, file, decoding)
        elif name.endswith(DICOM_SUFFIXES):  # old files lack the preamble
            yield from _decode_dicom(file, decoding)
        else:
            raise NotAnImage("the content is not PNG, JPEG, TIFF, BMP, WebP, GIF or DICOM")


_UNSUPPORTED = ("unsupported", "not supported", "cannot handle", "does not support", "unknown pixel mode")
_CUT = (EOFError, OSError, SyntaxError, struct.error, zlib.error, IndexError)


def _as_image_error(error: Exception, path: Path) -> ImageError:
    """The one of our errors that says what a library's error means."""
    reason = _reason(error, os.fspath(path))
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return TooManyPixels(reason)
    if isinstance(error, MemoryError):
        return TooManyPixels("decoding needs more memory than there is")
    if isinstance(error, OSError) and error.errno is not None:
        return Unreadable(reason)
    if any(word in reason.lower() for word in _UNSUPPORTED):
        return BadPixels(f"a kind of image that is not read here: {reason}")
    if isinstance(error, _CUT) or "less than expected" in reason:
        return Truncated(f"cut short or damaged: {reason}")
    return BadPixels(f"cannot be decoded: {reason}")


def _reason(error: Exception, path: str) -> str:
    """What an error says, in one printable line without the path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error).replace(path, "the file")
    return printable(" ".join(text.split()))[:200] or type(error).__name__


def _check_size(width: int, height: int, limit: int) -> None:
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
    if image.mode in _DEEP_MODES:
        return _deep_grey(image, decoding)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    elif image.mode in ("La", "RGBa"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
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
            _check_size(*image.size, limit)
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
            _check_size(width, height, limit)
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


# DICOM


def _decode_dicom(file: BinaryIO, decoding: Decoding) -> Iterator[Frame]:
    try:
        import pydicom
        from pydicom.pixels.processing import apply_color_lut
        from pydicom.pixels.utils import iter_pixels
    except ImportError as error:
        raise MissingExtra(f"DICOM needs pydicom: {_EXTRA}") from error
    _refuse_deflated(file)
    dataset = pydicom.dcmread(file, force=True)
    _check_dicom(dataset, decoding)
    photometric = str(dataset.PhotometricInterpretation)
    for index, stored in enumerate(iter_pixels(dataset)):
        if photometric == "PALETTE COLOR":
            stored = apply_color_lut(stored, dataset)[..., :3]
            pixels = _dicom_colour(stored, 8 * stored.dtype.itemsize)
        elif stored.ndim == 3:
            pixels = _dicom_colour(stored, int(dataset.BitsStored))
        else:
            pixels = _dicom_grey(dataset, index, stored, decoding)
        yield Frame(255 - pixels if photometric == "MONOCHROME1" else pixels, photometric)


def _refuse_deflated(file: BinaryIO) -> None:
    """pydicom inflates such a file whole, whatever its size; images are hardly ever kept so."""
    start = file.read(1024)  # the file meta group is in the first few hundred bytes
    file.seek(0)
    if b"1.2.840.10008.1.2.1.99" in start:
        raise BadPixels("transfer syntax Deflated Explicit VR Little Endian is not read")


def _check_dicom(dataset: Any, decoding: Decoding) -> None:
    """The dataset has pixels of a kind and number that can be decoded; gives it the transfer syntax where it names none."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "Rows" not in dataset or not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        if dataset.preamble is None and "SOPClassUID" not in dataset:  # read by force, and nothing came of it
            raise NotAnImage("not a DICOM file")
        raise BadPixels("the DICOM file holds no pixels")
    _check_size(int(dataset.Columns), int(dataset.Rows), decoding.max_pixels)
    if dataset.SamplesPerPixel not in (1, 3):
        raise BadPixels(f"{dataset.SamplesPerPixel} samples a pixel, expected 1 or 3")
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError as error:
        raise BadPixels(f"transfer syntax {syntax.name} is not read") from error
    if not available:
        raise MissingExtra(f"transfer syntax {syntax.name} needs more packages: {_EXTRA}")


def _dicom_colour(rgb: NDArray[Any], bits: int) -> GreyImage:
    """(H, W, 3) RGB of so many bits as grey."""
    eight = (rgb >> max(bits - 8, 0)).astype(np.uint8)
    return np.array(Image.fromarray(eight).convert("L"))


def _dicom_grey(dataset: Any, index: int, stored: NDArray[Any], decoding: Decoding) -> GreyImage:
    """One frame of stored values, (H, W), as grey before any inversion."""
    from pydicom.pixels.processing import apply_modality_lut

    slope = _dicom_number(dataset, index, "PixelValueTransformationSequence", "RescaleSlope", 1.0)
    intercept = _dicom_number(dataset, index, "PixelValueTransformationSequence", "RescaleIntercept", 0.0)
    assert slope is not None
    assert intercept is not None
    rescaled = (slope, intercept) != (1, 0)
    if "ModalityLUTSequence" in dataset:
        values = apply_modality_lut(stored, dataset)
    else:
        values = stored * slope + intercept if rescaled else stored
    borders = decoding.window or _dicom_window(dataset, index)
    if borders is None and stored.dtype == np.uint8 and values is stored:  # 8 bits pass untouched, fewer fill the range
        return window(stored, 0, 2 ** int(dataset.BitsStored) - 1)
    shown = values[~_dicom_padding(dataset, stored)]
    return window(values, *(borders or limits(shown if shown.size else values, decoding)))


def _dicom_window(dataset: Any, index: int) -> tuple[float, float] | None:
    """The values that become 0 and 255 by the file's first window, PS3.3 C.11.2.1.2.1; None where it has none.

    SIGMOID is taken as LINEAR_EXACT, which has the same centre and the same slope there.
    """
    centre = _dicom_number(dataset, index, "FrameVOILUTSequence", "WindowCenter")
    width = _dicom_number(dataset, index, "FrameVOILUTSequence", "WindowWidth")
    if centre is None or width is None or width <= 0:
        return None
    function = _dicom_value(dataset, index, "FrameVOILUTSequence", "VOILUTFunction") or "LINEAR"
    if function != "LINEAR" or width <= 1:  # at width 1 LINEAR is a threshold, and a threshold has no grey
        return centre - width / 2, centre + width / 2
    low = centre - 0.5 - (width - 1) / 2
    return low, low + width - 1


def _dicom_number(dataset: Any, index: int, group: str, name: str, default: float | None = None) -> float | None:
    """First value of an attribute of a frame; default where it is absent, empty or not finite."""
    value = _dicom_value(dataset, index, group, name)
    if isinstance(value, str) or not hasattr(value, "__len__"):
        value = [value]
    if not len(value) or value[0] is None or not math.isfinite(number := float(value[0])):
        return default
    return number


def _dicom_value(dataset: Any, index: int, group: str, name: str) -> Any:
    """An attribute of a frame: from the frame's own functional group, the shared one, or the dataset itself."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in (*frames[index : index + 1], *shared[:1]):
        for item in (groups.get(group) or [])[:1]:
            if name in item:
                return item.get(name)
    return dataset.get(name)


def _dicom_padding(dataset: Any, stored: NDArray[Any]) -> NDArray[np.bool_]:
    """(H, W): True where a pixel is padding, which no percentile should see."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(stored.shape, np.bool_)
    last = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((first, last if isinstance(last, int) else first))
    padding: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return padding


# NIfTI


def _decode_nifti(path: Path, head: bytes, decoding: Decoding) -> Iterator[Frame]:
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtra(f"NIfTI needs nibabel: {_EXTRA}") from error
    zipped = path.name.lower().endswith(".gz")
    if zipped and not head.startswith(b"\x1f\x8b"):
        raise NotAnImage("the name ends in .gz but the content is not gzip")
    with gzip.open(path) if zipped else open(path, "rb") as file:
        header = file.read(348)
    # not nibabel.load: it takes a .gz that is cut short for a type it does not know
    if header[344:348] == b"n+1\0":
        reader: Any = nibabel.Nifti1Image
    elif header[4:8] == b"n+2\0":
        reader = nibabel.Nifti2Image
    else:
        raise NotAnImage("the content is not NIfTI")
    # no mmap: a file cut short under a map kills the process. An open file: volumes of a .gz are read in one pass
    image = reader.from_filename(path, mmap=False, keep_file_open=True)
    shape, orientation = _check_nifti(image, decoding)
    apply_orientation: Any = nibabel.orientations.apply_orientation  # untyped
    mode = str(image.get_data_dtype())
    for position in np.ndindex(*image.shape[3:]):
        stored = np.asarray(image.dataobj[(..., *position)] if position else image.dataobj)
        volume = apply_orientation(stored.reshape(shape), orientation)
        for slice_ in _nifti_slices(volume, decoding):
            yield Frame(slice_, mode)


def _check_nifti(image: Any, decoding: Decoding) -> tuple[tuple[int, ...], NDArray[Any]]:
    """Stored shape of a volume (three axes), and the orientation that brings it to RAS+."""
    import nibabel

    shape = (*image.shape, 1, 1, 1)[:3]
    if not np.isfinite(image.affine).all() or 0 in image.shape:
        raise BadPixels(f"a volume of shape {image.shape} with affine {image.affine.tolist()}")
    io_orientation: Any = nibabel.orientations.io_orientation  # untyped
    orientation = io_orientation(image.affine)
    if not np.isfinite(orientation).all():
        raise BadPixels("the affine does not say how the volume lies")
    canonical = [shape[axis] for axis in np.argsort(orientation[:, 0])]
    height, width = (canonical[axis] for axis in (2, 1, 0) if axis != decoding.axis)
    _check_size(width, height, decoding.max_pixels)
    if math.prod(shape) > _VOLUME_FRAMES * decoding.max_pixels:
        raise TooManyPixels(f"{math.prod(shape)} voxels declared, at most {_VOLUME_FRAMES * decoding.max_pixels} are allowed")
    return shape, orientation


def _nifti_slices(volume: NDArray[Any], decoding: Decoding) -> Iterator[GreyImage]:
    """The slices of an RAS+ volume (X, Y, Z) across the axis; one window for all of them.

    8-bit volumes pass untouched unless a fixed window is asked for; RGB volumes become grey.
    """
    if volume.dtype.names in (("R", "G", "B"), ("R", "G", "B", "A")):
        volume = np.stack([volume[name] for name in "RGB"], axis=-1)
        borders = None
    else:
        borders = limits(volume, decoding)
        if volume.dtype == np.uint8 and decoding.window is None:
            borders = (0.0, 255.0)
    for index in range(volume.shape[decoding.axis]):
        stored = volume.take(index, axis=decoding.axis)[::-1, ::-1].swapaxes(0, 1)
        yield _dicom_colour(np.ascontiguousarray(stored), 8) if borders is None else window(stored, *borders)
