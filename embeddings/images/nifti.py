"""Decode NIfTI, and the older Analyze 7.5, to 8-bit grey.

Axes are brought to the closest RAS+ order, so that axis 2 is axial in every file, and a slice is then laid out as DICOM shows it:
columns run to the patient's left (sagittal: to the back), rows to the back (sagittal, coronal: to the feet). That permutes and
flips voxels and never resamples.

`embeddings.images.formats` imports this file when it meets the first such image, and turns whatever nibabel raises into its own
errors. nibabel is imported inside the functions, because it may be missing.
"""

import gzip
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from embeddings.images.decoding import Decoding, Frame, Layout
from embeddings.images.errors import BadPixels, MissingExtra, NotAnImage, TooManyPixels, Truncated
from embeddings.images.limits import DEFLATE, SLICES, check_frames, check_memory, check_size, check_there
from embeddings.images.windowing import BLOCK, Scale, copied, luma, scaled_limits, window
from embeddings.types import GreyImage

_VOLUME_FRAMES = 10  # a volume is held in memory whole: at most so many times max_pixels voxels
_HEADER = 540  # bytes of the longest header
_AS_STORED = np.array([[0, -1], [1, 1], [2, 1]], np.float64)  # what nibabel takes where a header does not say how a volume lies
_ZIPPED = b"\x1f\x8b"
_WHOLE_RANGE = 128  # 8-bit voxels that span so many values are made for display, fewer are stretched


def decode_nifti(data: bytes, name: str, decoding: Decoding) -> Iterator[Frame]:
    """Every slice of a NIfTI file of this name; of a series, volume by volume.

    nibabel reads the header alone. Voxels come out of the (unpacked) stream in pieces, and no more of them than it holds.

    Raises:
        MissingExtra: nibabel is not installed.
        ImageError: what is found before voxels are read; what nibabel raises comes out as it is.
    """
    kinds = _kinds()
    if name.endswith(".gz") and not data.startswith(_ZIPPED):
        raise NotAnImage("the name ends in .gz but the content is not gzip")
    start = _start(data)
    if _magic(start) in (b"ni1", b"ni2"):
        raise NotAnImage("a NIfTI header without its voxels: both files of a pair are needed, .hdr and .img")
    if _magic(start) not in (b"n+1", b"n+2"):
        raise NotAnImage("the content is not NIfTI")
    return _slices(_header(start, kinds), data, decoding)


def decode_pair(header: bytes, voxels: bytes, decoding: Decoding) -> Iterator[Frame]:
    """Every slice of a NIfTI or Analyze pair: the bytes of its ``.hdr`` and of its ``.img``; otherwise as `decode_nifti`."""
    kinds = _kinds()
    start = _start(header)
    if not is_pair_header(start):
        raise NotAnImage("the content is no header of NIfTI or Analyze")
    if not voxels:
        raise Truncated("the voxels are missing: a file with suffix .img must stand beside the header")
    return _slices(_header(start, kinds), voxels, decoding)


def is_pair_header(start: bytes) -> bool:
    """Whether bytes begin a header of NIfTI or Analyze: they say how long they are."""
    return len(start) >= 348 and start[:4] in [size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")]


def _start(data: bytes) -> bytes:
    """The first bytes, unpacked where they are packed."""
    if not data.startswith(_ZIPPED):
        return data[:_HEADER]
    return gzip.GzipFile(fileobj=io.BytesIO(data)).read(_HEADER)


def _magic(start: bytes) -> bytes:
    """What NIfTI calls itself: ``n+1``, ``ni1``, ``n+2``, ``ni2``; anything else for other content."""
    return start[344:347] if start[344:347] in (b"n+1", b"ni1") else start[4:7]


def _kinds() -> Mapping[bytes, Any]:
    """The headers that nibabel reads, by what they call themselves; of Analyze, which does not, what SPM writes.

    Raises:
        MissingExtra: nibabel is not installed.
    """
    try:
        from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
        from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader
        from nibabel.spm2analyze import Spm2AnalyzeHeader
    except ImportError as error:
        raise MissingExtra(f"NIfTI needs nibabel: {MissingExtra.mend}") from error
    return {
        b"n+1": Nifti1Header,
        b"ni1": Nifti1PairHeader,
        b"n+2": Nifti2Header,
        b"ni2": Nifti2PairHeader,
        b"": Spm2AnalyzeHeader,
    }


def _header(start: bytes, kinds: Mapping[bytes, Any]) -> Any:
    """The header as nibabel reads it."""
    kind = kinds.get(_magic(start), kinds[b""])
    return kind(start[: kind.template_dtype.itemsize], check=False)  # what of it matters is checked when it is used


def _slices(header: Any, data: bytes, decoding: Decoding) -> Iterator[Frame]:
    """The slices of the voxels that a header describes."""
    zipped = data.startswith(_ZIPPED)
    volume = _Volume.of(header, len(data), DEFLATE if zipped else 1, decoding)
    stream: BinaryIO = gzip.GzipFile(fileobj=io.BytesIO(data)) if zipped else io.BytesIO(data)  # type: ignore[assignment]
    for number in np.ndindex(*volume.series):
        at = volume.start(number)
        values = volume.read(stream, at) if zipped else np.frombuffer(data, volume.dtype, math.prod(volume.shape), at)
        notes = list(volume.notes)
        yield from (Frame(slice_, volume.mode, tuple(notes)) for slice_ in volume.slices(values, decoding, notes))


@dataclass(frozen=True)
class _Volume:
    """How a volume lies in its stream.

    Attributes:
        shape: as stored, three axes.
        series: the other axes, of volumes in turn.
        dtype: of a stored voxel.
        offset: of the first voxel.
        scale: stored values to real ones.
        orientation: brings the volume to RAS+.
        display: the values that the file wants shown as black and white; None where it names none.
        notes: what is wrong with the header.
    """

    shape: tuple[int, ...]
    series: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    scale: Scale
    orientation: NDArray[Any]
    display: tuple[float, float] | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, header: Any, size: int, ratio: int, decoding: Decoding) -> "_Volume":
        """What a header declares, if that is within the limits and within what a file can hold; arguments as of `check`."""
        from nibabel.volumeutils import apply_read_scaling

        whole, dtype, offset = header.get_data_shape(), header.get_data_dtype(), int(header.get_data_offset())
        shape, series = (*whole, 1, 1, 1)[:3], tuple(whole[3:])
        if min(whole, default=0) < 1 or offset < 0:
            raise BadPixels(f"a volume of shape {whole} that starts at byte {offset}")
        orientation, notes = _orientation(header)
        slope, inter = (None if number is None else np.float64(number) for number in header.get_slope_inter())
        scale = partial(apply_read_scaling, slope=slope, inter=inter)
        made = cls(shape, series, dtype, offset, scale, orientation, _display(header), notes)
        made.check(size, ratio, decoding)
        return made

    @property
    def mode(self) -> str:
        """Type of a stored voxel."""
        return str(self.dtype)

    @property
    def bytes(self) -> int:
        """Of one volume, stored."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self, size: int, ratio: int, decoding: Decoding) -> None:
        """Raises ImageError where the volume goes beyond a limit, or beyond what a file can hold.

        Args:
            size: bytes of the file.
            ratio: bytes that each of them can hold.
            decoding: the limits.
        """
        order = range(3) if decoding.layout == Layout.STORED else np.argsort(self.orientation[:, 0])
        canonical = [self.shape[axis] for axis in order]
        height, width = (canonical[axis] for axis in (2, 1, 0) if axis != decoding.axis)
        check_size(width, height, decoding.max_pixels)
        voxels, volumes = math.prod(self.shape), math.prod(self.series)
        if voxels > _VOLUME_FRAMES * decoding.max_pixels:
            raise TooManyPixels(f"{voxels} voxels declared, at most {_VOLUME_FRAMES * decoding.max_pixels} are allowed")
        check_frames(volumes * canonical[decoding.axis], volumes * voxels, decoding, SLICES)
        check_there(self.offset + volumes * self.bytes, size * ratio)
        copies = 0 if self.dtype.names else copied(self.dtype, self.scale(np.zeros(1, self.dtype)).dtype)
        check_memory(size + (self.bytes if ratio > 1 else 0) + voxels * copies + 24 * width * height, decoding)

    def start(self, number: tuple[int, ...]) -> int:
        """Where the volume of these places along the other axes begins."""
        return self.offset + self.bytes * (int(np.ravel_multi_index(number, self.series, order="F")) if number else 0)

    def read(self, stream: BinaryIO, start: int) -> NDArray[Any]:
        """The stored voxels of a volume, (n,), first axis fastest, from where it starts.

        Raises:
            Truncated: the stream ends before.
        """
        stream.seek(start)
        voxels = np.empty(math.prod(self.shape), self.dtype)  # takes memory as it is filled
        room = memoryview(voxels.view(np.uint8).data)
        at = 0
        while at < len(room):
            piece = stream.read(min(BLOCK, len(room) - at))
            if not piece:
                raise Truncated(f"cut short or damaged: {len(room)} bytes of voxels declared, {at} are there")
            room[at : at + len(piece)] = piece
            at += len(piece)
        return voxels

    def slices(self, stored: NDArray[Any], decoding: Decoding, notes: list[str]) -> Iterator[GreyImage]:
        """The slices of a volume across the axis, brought to RAS+; one window for all of them. RGB volumes become grey.

        Args:
            stored: its voxels, (n,).
            decoding: the settings.
            notes: gets what turns out wrong, before the first slice comes.
        """
        import nibabel

        colour = stored.dtype.names in (("R", "G", "B"), ("R", "G", "B", "A"))
        borders = (0.0, 0.0) if colour else self._borders(stored, decoding, notes)
        apply_orientation: Any = nibabel.orientations.apply_orientation  # untyped
        volume, as_stored = stored.reshape(self.shape, order="F"), decoding.layout == Layout.STORED
        if not as_stored:
            volume = apply_orientation(volume, self.orientation)
        for index in range(volume.shape[decoding.axis]):
            plane = volume.take(index, axis=decoding.axis)
            if not as_stored:
                plane = plane[::-1, ::-1].swapaxes(0, 1)
            if colour:
                yield luma(np.stack([plane[name] for name in "RGB"], axis=-1), 8)
            else:
                yield window(plane, *borders, self.scale)

    def _borders(self, stored: NDArray[Any], decoding: Decoding, notes: list[str]) -> tuple[float, float]:
        """The values of a volume that become 0 and 255.

        8-bit voxels without a scale pass untouched, as 8-bit pixels of other formats do, unless they use little of the range.
        Else the fixed window counts, then what the file says itself, then percentiles.
        """
        plain = self.scale(stored[:1]).dtype == np.uint8
        settings = replace(decoding, centre=None, width=None) if plain else decoding
        found = scaled_limits(stored, self.scale, settings)
        if settings.window is not None:
            return found
        if self.display is not None:
            if self.display[0] < found[1] and found[0] < self.display[1]:
                return self.display
            notes.append("cal_min and cal_max are beyond all values: taken as absent")
        whole = plain and int(stored.max()) - int(stored.min()) >= _WHOLE_RANGE
        return (0.0, 255.0) if whole else found


def _orientation(header: Any) -> tuple[NDArray[Any], tuple[str, ...]]:
    """What brings a volume to RAS+, and notes: where the affine says nothing, voxels are taken to lie as they are stored."""
    import nibabel

    io_orientation: Any = nibabel.orientations.io_orientation  # untyped
    for affine_of in (header.get_best_affine, lambda: header.get_qform(coded=True)[0]):
        try:
            found: NDArray[Any] = io_orientation(affine_of())
        except (AttributeError, TypeError, LookupError, ValueError, ArithmeticError, nibabel.spatialimages.HeaderDataError):
            continue  # Analyze has no qform; one that is not coded is None
        if np.isfinite(found).all():
            return found, ()
    return _AS_STORED, ("the affine does not say how the volume lies: axes are taken as stored",)


def _display(header: Any) -> tuple[float, float] | None:
    """``cal_min`` and ``cal_max`` of a header, the values to be shown as black and white; 0 and 0 mean that none are named."""
    low, high = (float(header[name]) for name in ("cal_min", "cal_max"))
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None
