"""Decode MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr) volumes to 8-bit grey slices, with SimpleITK.

Volumes are brought to the closest patient axes and laid out as `embeddings.images.medical` lays out NIfTI: columns run to the
patient's left (sagittal: to the back), rows to the back (sagittal, coronal: to the feet). Voxels are never resampled.

Only the children of `embeddings.images.workers` may call this: in one process the wrappers of SimpleITK and of FAISS, both made
by SWIG, take each other's types.
"""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.images.decoding import Decoding, Frame, Layout
from embeddings.images.errors import BadPixels, MissingExtra, TooManyPixels, Truncated
from embeddings.images.limits import DEFLATE, SLICES, check_frames, check_memory, check_size, check_there
from embeddings.images.pieces import pieces
from embeddings.images.samples import colour_as_grey
from embeddings.images.windowing import window, window_limits
from embeddings.types import GreyImage

_VOLUME_FRAMES = 10  # a volume is held in memory whole: at most so many times max_pixels voxels
_COLOURS = (3, 4)


def decode_volume(path: Path, decoding: Decoding) -> tuple[str, Iterator[Frame]]:
    """SHA-256 (hex) of a file together with its data file, computed after the voxels were read, and the slices.

    Raises:
        MissingExtra: SimpleITK is not installed.
        ImageError: a header that cannot be read, or declares what is beyond the limits.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise MissingExtra(f"MetaImage and NRRD need SimpleITK: {MissingExtra.mend}") from error
    itk: Any = SimpleITK  # untyped
    files = pieces(path)
    size = sum(file.stat().st_size for file in files)
    if size > decoding.memory:
        raise TooManyPixels(f"the file has {size // 1_000_000} MB, at most {decoding.memory // 1_000_000} MB are read")
    reader = itk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("NrrdImageIO" if _is_nrrd(path) else "MetaImageIO")
    try:
        reader.ReadImageInformation()
        _check(reader, itk, size, decoding)
        image = reader.Execute()
    except RuntimeError as error:
        raise Truncated(f"cut short or damaged: {' '.join(str(error).split())[-150:]}") from error
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest(), _slices(image, itk, decoding)


def _is_nrrd(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"NRRD"


def _check(reader: Any, itk: Any, size: int, decoding: Decoding) -> None:
    """What the header declares is within the limits, and within what the file can hold."""
    shape, components = [int(side) for side in reader.GetSize()], int(reader.GetNumberOfComponents())
    if not 2 <= len(shape) <= 4 or 0 in shape or components not in (1, *_COLOURS):
        raise BadPixels(f"a volume of {' x '.join(map(str, shape))} voxels with {components} values each")
    whole = [*shape, 1, 1][:3]
    height, width = (whole[axis] for axis in (2, 1, 0) if axis != decoding.axis) if len(shape) > 2 else (shape[1], shape[0])
    check_size(width, height, decoding.max_pixels)
    voxels = math.prod(shape)
    if math.prod(whole) > _VOLUME_FRAMES * decoding.max_pixels:
        raise TooManyPixels(f"{math.prod(whole)} voxels declared, at most {_VOLUME_FRAMES * decoding.max_pixels} are allowed")
    check_frames(voxels // (height * width), voxels, decoding, SLICES)
    itemsize = itk.Image([1] * len(shape), reader.GetPixelID(), components).GetSizeOfPixelComponent()
    check_there(voxels * components * itemsize, size * DEFLATE)
    check_memory(2 * size + 4 * voxels * components * itemsize + 24 * height * width, decoding)


def _slices(image: Any, itk: Any, decoding: Decoding) -> Iterator[Frame]:
    """The slices of an image of two axes, of a volume, or of several volumes in turn."""
    if image.GetDimension() == 4:
        size = list(image.GetSize())
        for number in range(size[3]):
            yield from _slices(itk.Extract(image, [*size[:3], 0], [0, 0, 0, number]), itk, decoding)
        return
    as_stored = decoding.layout == Layout.STORED
    if image.GetDimension() == 3 and not as_stored:
        image = itk.DICOMOrient(image, "LPS")
    values = itk.GetArrayViewFromImage(image)
    colour = image.GetNumberOfComponentsPerPixel() in _COLOURS
    planes = _planes(values, decoding) if image.GetDimension() == 3 else iter([values])
    if colour:
        bits = 8 * values.dtype.itemsize
        yield from (Frame(colour_as_grey(plane[..., :3], bits, decoding), f"{values.dtype} x 3") for plane in planes)
        return
    borders = (0.0, 255.0) if values.dtype == np.uint8 and decoding.window is None else window_limits(values, decoding)
    for plane in planes:
        grey: GreyImage = window(plane, *borders)
        yield Frame(grey, str(values.dtype))


def _planes(values: NDArray[Any], decoding: Decoding) -> Iterator[NDArray[Any]]:
    """The slices of a volume, [z, y, x] towards head, back and left; they follow each other towards right, front or head.

    As stored, rows run along the first axis of the file that is left, as in its own order [x, y, z].
    """
    axis = decoding.axis
    for index in range(values.shape[2 - axis]):
        if decoding.layout == Layout.STORED:
            yield values.take(index, axis=2 - axis).swapaxes(0, 1)
        elif axis == 2:
            yield values[index]
        else:
            yield values[::-1, values.shape[1] - 1 - index] if axis == 1 else values[::-1, :, values.shape[2] - 1 - index]
