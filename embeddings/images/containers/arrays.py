"""Pictures in NumPy arrays: .npy and .npz files, frame by frame.

An array is taken as ``array LAYOUT DTYPE RANGE``, its *reading*, decided once over the whole array:

- layout: HW, NHW, HWC, NHWC, NCHW; NDHW and NCDHW are volumes, of which every slice is a picture.
- range: what becomes 0 and 255. ``0..1``, ``-1..1`` and ``0..255`` where all finite values lie within (of the first two, a tenth
  beyond); ``windowed`` for others: each frame by the percentiles of its own values, as a 16-bit PNG is; ``as-stored`` for 8 bits.
"""

import hashlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from embeddings.images.containers.archives import Zip
from embeddings.images.containers.members import BATCH, BATCH_BYTES, MEMBERS, Member
from embeddings.images.decoding import Decoding, Frame
from embeddings.images.errors import BadPixels, ImageError, NotAnImage, TooManyPixels, Truncated, Unreadable, error_text
from embeddings.images.limits import check_memory, check_size
from embeddings.images.samples import colour_as_8_bits, colour_as_grey, grey_of
from embeddings.images.windowing import window
from embeddings.types import GreyImage

_CHANNELS = (1, 3, 4)
_LEAST_SIDE = 4  # a table of labels is no picture
_BEYOND = 0.1  # what a generator may overshoot its range by
_HEADER = 1 << 14  # bytes at most of a header; NumPy itself reads 10,000
_SCAN = 1 << 24  # bytes looked through at a time
_RANGES = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "0..255": (0.0, 255.0)}

Read = Callable[[int, int], bytes]  # bytes from an offset


@dataclass(frozen=True)
class Stack:
    """An array of pictures.

    Attributes:
        dtype: of the values.
        shape: of the array.
        fortran: the first axis varies fastest.
        layout: see the head of this file.
        start: offset of the values.
        read: gives bytes from an offset.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    layout: str
    start: int
    read: Read

    @property
    def picture(self) -> tuple[int, ...]:
        """Shape of one frame as stored."""
        return self.shape[-3:] if self.layout in ("HWC", "NHWC", "NCHW") else self.shape[-2:]

    @property
    def frames(self) -> int:
        """Number of pictures."""
        return math.prod(self.shape[: len(self.shape) - len(self.picture)])

    def frame(self, number: int) -> NDArray[Any]:
        """One picture as stored.

        Raises:
            Truncated: the file ends before.
            Unreadable: there is none of this number.
        """
        if not 0 <= number < self.frames:
            raise Unreadable(f"the array has {self.frames} frames, none of number {number}")
        picture: NDArray[Any] = self.some(number, 1)[0]
        return picture

    def some(self, first: int, count: int) -> NDArray[Any]:
        """Consecutive pictures, (count, ...)."""
        size = math.prod(self.picture)
        if not self.fortran:
            values = self._values(first * size, count * size)
            return values.reshape(count, *self.picture)
        return self._spread(first, count, size)

    def _spread(self, first: int, count: int, size: int) -> NDArray[Any]:
        """Pictures whose values lie apart: all values are read, a slab at a time, and most thrown away."""
        leading = self.shape[: len(self.shape) - len(self.picture)] or (1,)
        places = np.ravel_multi_index(np.unravel_index(np.arange(first, first + count), leading), leading, order="F")
        rows = max(1, _SCAN // (self.frames * self.dtype.itemsize))
        slabs = []
        for start in range(0, size, rows):
            slab = self._values(start * self.frames, min(rows, size - start) * self.frames)
            slabs.append(slab.reshape(-1, self.frames)[:, places])
        values = np.concatenate(slabs).T
        pictures: NDArray[Any] = np.stack([value.reshape(self.picture, order="F") for value in values])
        return pictures

    def _values(self, start: int, count: int) -> NDArray[Any]:
        data = self.read(self.start + start * self.dtype.itemsize, count * self.dtype.itemsize)
        if len(data) < count * self.dtype.itemsize:
            raise Truncated("cut short or damaged: the array ends before its last value")
        return np.frombuffer(data, self.dtype, count)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All values, in the order of the file, some at a time."""
        total, count = math.prod(self.shape), _SCAN // self.dtype.itemsize
        for start in range(0, total, count):
            yield self._values(start, min(count, total - start))


def stack_of(read: Read, size: int, decoding: Decoding) -> Stack:
    """The array of an .npy file.

    Args:
        read: gives bytes of the file from an offset.
        size: bytes of the file.
        decoding: the limits.

    Raises:
        ImageError: it is no array of pictures, or too large.
    """
    file = io.BytesIO(read(0, _HEADER))
    try:
        version = npy.read_magic(file)
        reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran, dtype = reader(file)
    except KeyError as error:
        raise BadPixels("an .npy file of a version with named fields: save one field alone") from error
    except (ValueError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise NotAnImage(f"the content is no .npy array: {error_text(error, '')[:120]}") from error
    if dtype.hasobject:
        raise BadPixels("the array holds Python objects (a pickle), which are never loaded: save it with a number type")
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise BadPixels(f"an array of {dtype} holds no pictures: save it as float32 or uint8")
    start = file.tell()
    layout = _layout(shape)
    stack = Stack(dtype, shape, fortran, layout, start, read)
    if math.prod(shape) * dtype.itemsize > size - start:
        there = f"{max(0, size - start)} bytes of values are there, {math.prod(shape) * dtype.itemsize} are declared"
        raise Truncated(f"cut short or damaged: {there}")
    if fortran and stack.frames > 1 and size > decoding.memory:
        raise TooManyPixels("a large array in Fortran order: save it with numpy.ascontiguousarray")
    if stack.frames > MEMBERS:
        raise TooManyPixels(f"{stack.frames} frames, at most {MEMBERS} are read")
    height, width = stack.picture[-2:] if layout != "HWC" and layout != "NHWC" else stack.picture[:2]
    check_size(width, height, decoding.max_pixels)
    check_memory(math.prod(stack.picture) * (3 * dtype.itemsize + 8) + width * height * 16, decoding)
    return stack


def _layout(shape: tuple[int, ...]) -> str:
    """What the axes of an array mean.

    Raises:
        BadPixels: its shape is not that of pictures.
    """
    last, pairs = len(shape), {2: "HW", 3: "NHW", 4: "NDHW", 5: "NCDHW"}
    layout = pairs.get(last, "")
    if last in (3, 4) and shape[-1] in _CHANNELS and min(shape[-3:-1]) >= _LEAST_SIDE:
        layout = "HWC" if last == 3 else "NHWC"
    elif last == 4 and shape[1] in _CHANNELS:
        layout = "NCHW"
    sides = shape[-3:-1] if layout.endswith("C") else shape[-2:]
    if not layout or 0 in shape or min(sides, default=0) < _LEAST_SIDE or (layout == "NCDHW" and shape[1] != 1):
        raise BadPixels(f"an array of shape {shape} holds no pictures: N x H x W, N x H x W x C, N x C x H x W or H x W is read")
    return layout


# Reading


def reading_of(stack: Stack, decoding: Decoding) -> Iterator[str]:
    """How the values are taken, last; before it empty strings, as often as time passes."""
    dtype = stack.dtype
    if dtype.itemsize == 1:
        yield _reading(stack, "as-stored")
        return
    if decoding.window is not None:
        yield _reading(stack, "windowed")
        return
    low, high = math.inf, -math.inf
    for number, block in enumerate(stack.blocks()):
        finite = block[np.isfinite(block)] if dtype.kind == "f" else block
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        if number % 16 == 15:
            yield ""
    yield _reading(stack, _range(dtype, low, high))


def _range(dtype: np.dtype[Any], low: float, high: float) -> str:
    if dtype.kind == "f" and low > high:
        raise BadPixels("no pixel has a finite value")
    if dtype.kind == "f" and high <= 1 + _BEYOND:
        if low >= -_BEYOND:
            return "0..1"
        if low >= -1 - _BEYOND:
            return "-1..1"
    if low >= 0 and high <= 255 and (dtype.kind != "f" or high > 127):
        return "0..255"
    return "windowed"


def _reading(stack: Stack, values: str) -> str:
    return f"array {stack.layout} {stack.dtype.newbyteorder('=')} {values}"


def grey_frame(stored: NDArray[Any], reading: str, decoding: Decoding) -> Frame:
    """A frame of an array as grey.

    Raises:
        BadPixels: no value is finite.
    """
    _, layout, _, values = reading.split(" ")
    picture = np.moveaxis(stored, 0, -1) if layout == "NCHW" else stored
    if picture.ndim == 2:
        picture = picture[..., np.newaxis]
    picture = picture.astype(picture.dtype.newbyteorder("="), copy=False)
    return Frame(_grey(picture, _RANGES.get(values), decoding), reading)


def _grey(picture: NDArray[Any], borders: tuple[float, float] | None, decoding: Decoding) -> GreyImage:
    """(H, W, C) as grey, on black where C is 4."""
    bits = 1 if picture.dtype.kind == "b" else 8 * picture.dtype.itemsize
    if borders is not None:
        picture, bits = window(picture, *borders), 8
    if picture.shape[2] == 1:
        return grey_of(picture[..., 0], bits, decoding)
    grey = colour_as_grey(picture[..., :3], bits, decoding)
    if picture.shape[2] == 3:
        return grey
    cover = colour_as_8_bits(picture[..., 3], bits, decoding).astype(np.uint16)
    return ((grey * cover + 127) // 255).astype(np.uint8)


def fingerprint(stored: NDArray[Any]) -> str:
    """SHA-256 (hex) of a frame: of its dtype, its shape and its values in C order."""
    digest = hashlib.sha256(f"{stored.dtype.str} {stored.shape}\n".encode())
    digest.update(np.ascontiguousarray(stored).data)
    return digest.hexdigest()


# Files


class _Arrays:
    """Named arrays of one file."""

    def __init__(self, file: BinaryIO, decoding: Decoding) -> None:
        self._file, self._decoding = file, decoding
        self._readings: dict[str, str] = {}

    def rest(self) -> None:
        """As `Container.rest`: nothing is held."""

    def close(self) -> None:
        """As `Container.close`."""
        self._file.close()

    def read(self, name: str) -> bytes:
        """As `Container.read`."""
        raise NotAnImage(f"{name} is an array, no image file")

    def frame(self, name: str, number: int) -> NDArray[Any]:
        """As `Container.frame`."""
        return self._stack(name).frame(number)

    def reading(self, name: str) -> tuple[str, int]:
        """As `Container.reading`."""
        stack = self._stack(name)
        if name not in self._readings:
            *_, self._readings[name] = reading_of(stack, self._decoding)
        return self._readings[name], stack.frames

    def _stack(self, name: str) -> Stack:
        raise NotImplementedError

    def _members_of(self, name: str) -> Iterator[Sequence[Member]]:
        """The frames of one array."""
        stack = self._stack(name)
        reading = ""
        for told in reading_of(stack, self._decoding):
            reading = told
            yield []
        self._readings[name] = reading
        size = math.prod(stack.picture) * stack.dtype.itemsize
        count = max(1, min(BATCH, BATCH_BYTES // size))
        for first in range(0, stack.frames, count):
            some = stack.some(first, min(count, stack.frames - first))
            yield [Member(name, first + at, stack.frames, fingerprint(frame), size, reading) for at, frame in enumerate(some)]


class Npy(_Arrays):
    """An .npy file; its array has no name. Its frames are read from their places in the file.

    Raises:
        ImageError: it is no array of pictures.
    """

    def __init__(self, file: BinaryIO, decoding: Decoding) -> None:
        super().__init__(file, decoding)
        size = file.seek(0, 2)
        self._array = stack_of(self._part, size, decoding)

    def _part(self, start: int, count: int) -> bytes:
        self._file.seek(start)
        return self._file.read(count)

    def _stack(self, name: str) -> Stack:
        if name:
            raise Unreadable("an .npy file holds one array, without a name")
        return self._array

    def members(self) -> Iterator[Sequence[Member]]:
        """As `Container.members`."""
        return self._members_of("")


class Npz(_Arrays):
    """An .npz file: a zip of .npy files. Where it is compressed a frame is reached by unpacking what comes before it.

    Raises:
        ImageError: it is no archive.
    """

    def __init__(self, file: BinaryIO, decoding: Decoding) -> None:
        super().__init__(file, decoding)
        self._zip = Zip(file, decoding)
        self._stacks: dict[str, Stack] = {}

    def members(self) -> Iterator[Sequence[Member]]:
        """As `Container.members`. Tables (two axes) are left aside where there are stacks of pictures."""
        sound: list[str] = []
        for name in self._zip.names():
            if not name.endswith(".npy"):
                yield [Member(name, ignored=True)]
                continue
            try:
                self._stack(name.removesuffix(".npy"))
                sound.append(name.removesuffix(".npy"))
            except ImageError as error:
                table = "holds no pictures" in str(error)
                yield [Member(name, ignored=True) if table else Member(name.removesuffix(".npy"), error=str(error))]
        stacks = [name for name in sound if len(self._stacks[name].shape) > 2]
        yield [Member(f"{name}.npy", ignored=True) for name in sound if stacks and name not in stacks]
        for name in stacks or sound:
            try:
                yield from self._members_of(name)
            except ImageError as error:
                yield [Member(name, error=str(error))]

    def _stack(self, name: str) -> Stack:
        if not name:
            raise NotAnImage("it holds named arrays: name one of them, or index it")
        if name not in self._stacks:
            self._stacks[name] = stack_of(*self._zip.part_reader(f"{name}.npy"), self._decoding)
        return self._stacks[name]
