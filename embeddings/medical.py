"""DICOM and NIfTI to 8-bit grey.

- DICOM: rescale slope and intercept (or modality LUT), then a window; MONOCHROME1 is inverted. VOI LUT sequences are not applied.
- NIfTI: axes are brought to the closest RAS+ order, so that axis 2 is axial in every file, and a slice is then laid out as
  DICOM shows it: columns run to the patient's left (sagittal: to the back), rows to the back (sagittal, coronal: to the feet).
  That permutes and flips voxels and never resamples.

`embeddings.images` imports this file when it meets the first such image, and turns whatever pydicom and nibabel raise into
its own errors. The two are imported inside the functions, because either may be missing.
"""

import gzip
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embeddings.images import BadPixels, Decoding, Frame, MissingExtra, NotAnImage, TooManyPixels, check_size, limits, window
from embeddings.types import GreyImage

_VOLUME_FRAMES = 10  # a NIfTI volume is held in memory whole: at most so many times max_pixels voxels

# DICOM


def decode_dicom(file: BinaryIO, decoding: Decoding) -> Iterator[Frame]:
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


def _dicom_colour(rgb: NDArray[Any], bits: int) -> GreyImage:
    """(H, W, 3) RGB of so many bits as grey."""
    eight = (rgb >> max(bits - 8, 0)).astype(np.uint8)
    return np.array(Image.fromarray(eight).convert("L"))


def _dicom_grey(dataset: Any, index: int, stored: NDArray[Any], decoding: Decoding) -> GreyImage:
    """One frame of stored values, (H, W), as grey before any inversion."""
    values = _dicom_rescaled(dataset, index, stored)
    borders = decoding.window or _dicom_window(dataset, index)
    if borders is None and stored.dtype == np.uint8 and values is stored:  # 8 bits pass untouched, fewer fill the range
        return window(stored, 0, 2 ** int(dataset.BitsStored) - 1)
    shown = values[~_dicom_padding(dataset, stored)]
    return window(values, *(borders or limits(shown if shown.size else values, decoding)))


def _dicom_rescaled(dataset: Any, index: int, stored: NDArray[Any]) -> NDArray[Any]:
    """A frame's values after the modality LUT, or slope and intercept; the array itself where they change nothing."""
    if "ModalityLUTSequence" in dataset:
        from pydicom.pixels.processing import apply_modality_lut

        looked_up: NDArray[Any] = apply_modality_lut(stored, dataset)
        return looked_up
    slope = _dicom_number(dataset, index, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _dicom_number(dataset, index, "PixelValueTransformationSequence", "RescaleIntercept")
    if slope in (None, 1) and intercept in (None, 0):
        return stored
    return stored * (1.0 if slope is None else slope) + (intercept or 0.0)


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


def decode_nifti(path: Path, head: bytes, decoding: Decoding) -> Iterator[Frame]:
    """Every slice of a NIfTI file that starts with these bytes; of a series, volume by volume.

    Raises:
        MissingExtra: nibabel is not installed.
        ImageError: what is found before nibabel reads voxels; what nibabel raises comes out as it is.
    """
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtra(f"NIfTI needs nibabel: {MissingExtra.mend}") from error
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
    check_size(width, height, decoding.max_pixels)
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
