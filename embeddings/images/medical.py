"""Decode DICOM and NIfTI to 8-bit grey.

- DICOM: rescale slope and intercept (or modality LUT), then a window; MONOCHROME1 is inverted. VOI LUT sequences are not applied.
- NIfTI: axes are brought to the closest RAS+ order, so that axis 2 is axial in every file, and a slice is then laid out as
  DICOM shows it: columns run to the patient's left (sagittal: to the back), rows to the back (sagittal, coronal: to the feet).
  That permutes and flips voxels and never resamples.

`embeddings.images.formats` imports this file when it meets the first such image, and turns whatever pydicom and nibabel raise
into its own errors. The two are imported inside the functions, because either may be missing.
"""

import gzip
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embeddings.images.decoding import Decoding, Frame
from embeddings.images.errors import BadPixels, MissingExtra, NotAnImage, TooManyPixels, Truncated
from embeddings.images.limits import (
    DEFLATE,
    JPEG,
    PACKBITS,
    SLICES,
    check_frames,
    check_memory,
    check_size,
    check_there,
    codestream_size,
)
from embeddings.images.windowing import BLOCK, Scale, copied, scaled_limits, window
from embeddings.types import GreyImage

_VOLUME_FRAMES = 10  # a NIfTI volume is held in memory whole: at most so many times max_pixels voxels

# DICOM


def decode_dicom(data: bytes, decoding: Decoding) -> Iterator[Frame]:
    """Every frame of a DICOM file.

    Raises:
        MissingExtra: pydicom, or the plug-in for this transfer syntax, is not installed.
        ImageError: what is found before pydicom decodes; what pydicom raises comes out as it is.
    """
    try:
        import pydicom
        from pydicom.pixels.processing import apply_color_lut
        from pydicom.pixels.utils import iter_pixels
    except ImportError as error:
        raise MissingExtra(f"DICOM needs pydicom: {MissingExtra.mend}") from error
    # pydicom inflates such a file whole, whatever its size; images are hardly ever kept so
    if b"1.2.840.10008.1.2.1.99" in data:
        raise BadPixels("transfer syntax Deflated Explicit VR Little Endian is not read")
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    _check_dicom(dataset, decoding)
    _check_dicom_pixels(dataset, len(data), decoding)
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


def _check_dicom(dataset: Any, decoding: Decoding) -> None:
    """The dataset has pixels of a kind and number that can be decoded; gives it the transfer syntax where it names none."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "Rows" not in dataset or not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        if dataset.preamble is None and "SOPClassUID" not in dataset:  # read by force, and nothing came of it
            raise NotAnImage("not a DICOM file")
        raise BadPixels("the DICOM file holds no pixels")
    check_size(int(dataset.Columns), int(dataset.Rows), decoding.max_pixels)
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
        raise MissingExtra(f"transfer syntax {syntax.name} needs more packages: {MissingExtra.mend}")


def _check_dicom_pixels(dataset: Any, size: int, decoding: Decoding) -> None:
    """All frames are within the limits, and no larger than their bytes can hold.

    Raises:
        TooManyPixels: they are too many or too large, or a compressed frame is larger than the file says.
        Truncated: there are too few bytes.
    """
    from pydicom.encaps import generate_fragments

    frames, width, height = int(dataset.get("NumberOfFrames") or 1), int(dataset.Columns), int(dataset.Rows)
    check_frames(frames, frames * width * height, decoding)
    samples = int(dataset.SamplesPerPixel)
    bits = int(dataset.BitsAllocated) * samples
    # stored twice; a mask, what is shown, and grey; more where colour is computed with floats, or percentiles need a copy
    each = bits // 4 + (30 if samples > 1 else 6 if bits <= 16 else 22)
    check_memory(2 * size + width * height * each, decoding)
    syntax = dataset.file_meta.TransferSyntaxUID
    data = next(dataset[name].value for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if name in dataset)
    needed = frames * width * height * bits // 8
    if not syntax.is_encapsulated:
        if needed > len(data):  # half a colour's samples are stored where the photometric interpretation is YBR_FULL_422
            check_there(needed * 2 // 3 if dataset.PhotometricInterpretation == "YBR_FULL_422" else needed, len(data))
        return
    if syntax.name == "RLE Lossless":
        check_there(needed, len(data) * PACKBITS)
    elif "JPEG" in syntax.name and "2000" not in syntax.name and "-LS" not in syntax.name:  # these two know no bound
        check_there(frames * width * height, len(data) * JPEG)
    for fragment in generate_fragments(data):
        across, down = codestream_size(fragment)
        check_size(across, down, decoding.max_pixels)
        check_memory(2 * size + across * down * each, decoding)


def _dicom_colour(rgb: NDArray[Any], bits: int) -> GreyImage:
    """(H, W, 3) RGB of so many bits as grey."""
    eight = (rgb >> max(bits - 8, 0)).astype(np.uint8)
    return np.array(Image.fromarray(eight).convert("L"))


def _dicom_grey(dataset: Any, index: int, stored: NDArray[Any], decoding: Decoding) -> GreyImage:
    """One frame of stored values, (H, W), as grey before any inversion."""
    scale = _dicom_scale(dataset, index)
    borders = decoding.window or _dicom_window(dataset, index)
    if borders is None and stored.dtype == np.uint8 and scale is None:  # 8 bits pass untouched, fewer fill the range
        return window(stored, 0, 2 ** int(dataset.BitsStored) - 1)
    if borders is None:
        shown = stored[~_dicom_padding(dataset, stored)]
        borders = scaled_limits(shown if shown.size else stored.ravel(), scale or _as_it_is, decoding)
    return window(stored, *borders, scale)


def _as_it_is(values: NDArray[Any]) -> NDArray[Any]:
    return values


def _dicom_scale(dataset: Any, index: int) -> Scale | None:
    """A frame's modality LUT, or slope and intercept; None where they change nothing."""
    if "ModalityLUTSequence" in dataset:
        from pydicom.pixels.processing import apply_modality_lut

        return partial(apply_modality_lut, ds=dataset)
    slope = _dicom_number(dataset, index, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _dicom_number(dataset, index, "PixelValueTransformationSequence", "RescaleIntercept")
    if slope in (None, 1) and intercept in (None, 0):
        return None
    factor, shift = 1.0 if slope is None else slope, intercept or 0.0
    return lambda stored: stored * factor + shift


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


def _dicom_number(dataset: Any, index: int, group: str, name: str) -> float | None:
    """First value of an attribute of a frame; None where it is absent, empty or not finite."""
    value = _dicom_value(dataset, index, group, name)
    if isinstance(value, str) or not hasattr(value, "__len__"):
        value = [value]
    if not len(value) or value[0] is None or not math.isfinite(number := float(value[0])):
        return None
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


def decode_nifti(data: bytes, name: str, decoding: Decoding) -> Iterator[Frame]:
    """Every slice of a NIfTI file of this name; of a series, volume by volume.

    nibabel reads the header alone. Voxels come out of the (unpacked) stream in pieces, and no more of them than it holds.

    Raises:
        MissingExtra: nibabel is not installed.
        ImageError: what is found before voxels are read; what nibabel raises comes out as it is.
    """
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtra(f"NIfTI needs nibabel: {MissingExtra.mend}") from error
    zipped = name.endswith(".gz")
    if zipped and not data.startswith(b"\x1f\x8b"):
        raise NotAnImage("the name ends in .gz but the content is not gzip")
    stream: BinaryIO = gzip.GzipFile(fileobj=io.BytesIO(data)) if zipped else io.BytesIO(data)  # type: ignore[assignment]
    start = stream.read(540)
    headers: Any = nibabel.Nifti1Header, nibabel.Nifti2Header  # untyped
    if start[344:348] == b"n+1\0":
        header = headers[0](start[:348])
    elif start[4:8] == b"n+2\0":
        header = headers[1](start)
    else:
        raise NotAnImage("the content is not NIfTI")
    volume = _Volume.of(header, len(data), DEFLATE if zipped else 1, decoding)
    for number in np.ndindex(*volume.series):
        start_at = volume.start(number)
        values = volume.read(stream, start_at) if zipped else np.frombuffer(data, volume.dtype, math.prod(volume.shape), start_at)
        yield from (Frame(slice_, volume.mode) for slice_ in volume.slices(values, decoding))


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
    """

    shape: tuple[int, ...]
    series: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    scale: Scale
    orientation: NDArray[Any]

    @classmethod
    def of(cls, header: Any, size: int, ratio: int, decoding: Decoding) -> "_Volume":
        """What a header declares, if that is within the limits and within what a file can hold; arguments as of `check`."""
        import nibabel
        from nibabel.volumeutils import apply_read_scaling

        whole, affine, dtype = header.get_data_shape(), header.get_best_affine(), header.get_data_dtype()
        shape, series = (*whole, 1, 1, 1)[:3], tuple(whole[3:])
        if not np.isfinite(affine).all() or min(whole, default=0) < 1:
            raise BadPixels(f"a volume of shape {whole} with affine {affine.tolist()}")
        io_orientation: Any = nibabel.orientations.io_orientation  # untyped
        orientation = io_orientation(affine)
        if not np.isfinite(orientation).all():
            raise BadPixels("the affine does not say how the volume lies")
        slope, inter = (None if number is None else np.float64(number) for number in header.get_slope_inter())
        scale = partial(apply_read_scaling, slope=slope, inter=inter)
        made = cls(shape, series, dtype, int(header.get_data_offset()), scale, orientation)
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
        canonical = [self.shape[axis] for axis in np.argsort(self.orientation[:, 0])]
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

    def slices(self, stored: NDArray[Any], decoding: Decoding) -> Iterator[GreyImage]:
        """The slices of a volume across the axis, brought to RAS+; one window for all of them.

        8-bit volumes pass untouched unless a fixed window is asked for; RGB volumes become grey.
        """
        import nibabel

        colour = stored.dtype.names in (("R", "G", "B"), ("R", "G", "B", "A"))
        borders = (0.0, 0.0) if colour else scaled_limits(stored, self.scale, decoding)
        if self.scale(stored[:1]).dtype == np.uint8 and decoding.window is None:
            borders = (0.0, 255.0)
        apply_orientation: Any = nibabel.orientations.apply_orientation  # untyped
        volume = apply_orientation(stored.reshape(self.shape, order="F"), self.orientation)
        for index in range(volume.shape[decoding.axis]):
            plane = volume.take(index, axis=decoding.axis)[::-1, ::-1].swapaxes(0, 1)
            if colour:
                yield _dicom_colour(np.stack([plane[name] for name in "RGB"], axis=-1), 8)
            else:
                yield window(plane, *borders, self.scale)
