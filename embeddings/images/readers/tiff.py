"""Decode the TIFF files that Pillow refuses or misreads, with tifffile and imagecodecs.

Pillow reads what `pillow_reads` names. Everything else comes here: other depths than 8 bits, signed or floating-point samples,
samples in separate planes, uncompressed tiles, more samples than colours. What tifffile does not decode (LogLuv, ThunderScan,
subsampled colour without JPEG) libtiff renders to RGB, through imagecodecs.
"""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.images.decoding import Decoding, Frame
from embeddings.images.errors import BadPixels, ImageError, Truncated
from embeddings.images.limits import TIFF_DESCRIPTION, check_frames, check_memory, check_size
from embeddings.images.samples import colour_as_8_bits, colour_as_grey, grey_of
from embeddings.types import GreyImage

Tags = Mapping[int, tuple[float, ...]]  # number -> values, of one page

# Tags, by the names of the standard
SUBFILE_TYPE, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES = 254, 258, 259, 262, 266, 277
PLANAR, PREDICTOR, TILE_WIDTH, EXTRA_SAMPLES, SAMPLE_FORMAT, DEPTH = 284, 317, 322, 338, 339, 32997
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
_JPEG = 7
_LIBTIFF_ONLY = (6, 32809, 34676, 34677)  # compressions: JPEG of the old kind, ThunderScan, LogLuv
_PILLOW_COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
_STACKS = (b"ImageJ=", b'{"shape"')  # descriptions by programs that write one page for several pictures
_REDUCED = 1 | 4  # subfile types: a smaller copy, a mask

# Photometric interpretation -> (bits of each sample, extra samples) that Pillow reads right as unsigned integers in one plane.
_PILLOW: Mapping[int, tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]] = {
    WHITE_IS_ZERO: (((1,), ()), ((8,), ())),
    BLACK_IS_ZERO: (((1,), ()), ((8,), ()), ((8, 8), (1,)), ((8, 8), (2,))),
    RGB: (((8, 8, 8), ()), ((8, 8, 8, 8), (1,)), ((8, 8, 8, 8), (2,))),
    PALETTE: (((8,), ()),),
    CMYK: (((8, 8, 8, 8), ()),),
    YCBCR: (((8, 8, 8), ()),),
}


def pillow_reads(pages: Sequence[Tags]) -> bool:
    """Whether all pages are of the kinds that Pillow reads right."""
    if len(pages) == 1 and bytes(map(int, pages[0].get(TIFF_DESCRIPTION, ()))).startswith(_STACKS):
        return False
    return all(_pillow_reads(tags) for tags in pages)


def _pillow_reads(tags: Tags) -> bool:
    compression, photometric = _first(tags, COMPRESSION, 1), _first(tags, PHOTOMETRIC, -1)
    bits, extra = _all(tags, BITS, (1,)), _all(tags, EXTRA_SAMPLES, ())
    samples = _first(tags, SAMPLES, 1)
    if _first(tags, SUBFILE_TYPE, 0) & _REDUCED or DEPTH in tags or compression not in _PILLOW_COMPRESSIONS:
        return False
    if compression == 1 and (TILE_WIDTH in tags or _first(tags, PREDICTOR, 1) != 1):
        return False
    if (samples > 1 and _first(tags, PLANAR, 1) != 1) or (_first(tags, FILL_ORDER, 1) != 1 and bits != (1,)):
        return False
    if photometric == YCBCR and compression != _JPEG:
        return False
    if set(_all(tags, SAMPLE_FORMAT, (1,))) != {1}:
        return False
    return len(bits) == samples and (bits, extra) in _PILLOW.get(photometric, ())


def _all(tags: Tags, number: int, default: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(value) for value in tags[number]) if tags.get(number) else default


def _first(tags: Tags, number: int, default: int) -> int:
    return int(tags[number][0]) if tags.get(number) else default


def decode_tiff(data: bytes, decoding: Decoding) -> Iterator[Frame]:
    """Every picture of a TIFF file; smaller copies of one, and masks, are left out.

    Raises:
        ImageError: what is found before tifffile decodes; what it raises comes out as it is.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data), _multifile=False) as file:
        pages = [(index, file.pages[index].aspage()) for index in range(len(file.pages))]
        chosen = [(index, page) for index, page in pages if not int(page.subfiletype) & _REDUCED] or pages
        stack = _stack(file, [page for _, page in chosen], decoding)
        if stack is not None:
            page = chosen[0][1]
            for values in stack:
                yield Frame(_grey(page, values, decoding), _mode(page))
            return
        for index, page in chosen:
            yield from _page_frames(data, index, page, decoding)


def _stack(file: Any, pages: Sequence[Any], decoding: Decoding) -> NDArray[Any] | None:
    """The pictures of a file that describes one page and has others behind it, (N, ...); None where each has its page."""
    if len(pages) != 1 or not (file.is_imagej or file.is_shaped or file.is_stk):
        return None
    page, series = pages[0], file.series[0]
    if series.size <= page.size or series.size % page.size or series.dtype != page.dtype:
        return None
    check_frames(series.size // page.size, series.size, decoding)
    check_memory(2 * series.nbytes + 24 * page.size, decoding)
    stack: NDArray[Any] = series.asarray(maxworkers=1).reshape(-1, *page.shaped)
    return stack


def _page_frames(data: bytes, index: int, page: Any, decoding: Decoding) -> Iterator[Frame]:
    """The pictures of one page: several where it has depth."""
    _check_page(page, len(data), decoding)
    try:
        if page.compression in _LIBTIFF_ONLY or (page.photometric == YCBCR and page.compression != _JPEG):
            raise NotImplementedError("rendered by libtiff")
        values = page.asarray(maxworkers=1).reshape(page.shaped)
    except ImageError:
        raise
    except (ValueError, NotImplementedError) as error:
        yield Frame(_rendered(data, index, error, decoding), "RGB")
        return
    for depth in range(values.shape[1]):
        yield Frame(_grey(page, values[:, depth : depth + 1], decoding), _mode(page))


def _check_page(page: Any, size: int, decoding: Decoding) -> None:
    """A page is within the limits, and so is one of its strips or tiles."""
    planes, depth, height, width, samples = page.shaped
    if 0 in page.shaped:
        raise BadPixels("a TIFF page without pixels")
    check_size(width, height, decoding.max_pixels)
    check_frames(depth, depth * width * height, decoding)
    if any(at + count > size for at, count in zip(page.dataoffsets, page.databytecounts, strict=False)):
        raise Truncated("cut short or damaged: a strip or tile of the TIFF lies beyond the end of the file")
    values = max(math.prod(page.shaped), math.prod(page.chunks))
    each = page.dtype.itemsize if page.dtype is not None else 4
    check_memory(size + values * 3 * each + 16 * width * height * max(1, min(planes * samples, 4)), decoding)


def _mode(page: Any) -> str:
    samples = page.shaped[0] * page.shaped[4]
    return f"{page.dtype}" if samples == 1 else f"{page.dtype} x {samples}"


def _rendered(data: bytes, index: int, why: Exception, decoding: Decoding) -> GreyImage:
    """What libtiff makes of a page, RGB with alpha on black, as grey."""
    import imagecodecs

    try:
        rgba = imagecodecs.tiff_decode(data, index=index, asrgb=True)
    except Exception as error:
        raise BadPixels(f"a kind of TIFF that is not read here: {why if str(why) != 'rendered by libtiff' else error}") from error
    return colour_as_grey(rgba[..., :3], 8, decoding)  # libtiff multiplies by alpha


# Grey


def _grey(page: Any, values: NDArray[Any], decoding: Decoding) -> GreyImage:
    """One picture, (planes, 1, H, W, samples), as upright grey."""
    planes, _, height, width, samples = values.shape
    picture = values.reshape(planes, height, width, samples).transpose(1, 2, 0, 3).reshape(height, width, planes * samples)
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 8 * page.dtype.itemsize
    extra = tuple(int(kind) for kind in page.extrasamples)
    grey = _photometric(page, picture, bits, len(extra), decoding)
    alpha = next((picture.shape[2] - len(extra) + place for place, kind in enumerate(extra) if kind == 2), None)
    if alpha is not None:
        cover = colour_as_8_bits(picture[..., alpha], bits, decoding).astype(np.uint16)
        grey = ((grey * cover + 127) // 255).astype(np.uint8)
    return _upright(grey, int(page.tags.valueof(274, 1) or 1))


def _photometric(page: Any, picture: NDArray[Any], bits: int, extra: int, decoding: Decoding) -> GreyImage:
    """Grey of (H, W, samples), by what the samples mean; samples that are said to be extra do not count."""
    photometric, colours = int(page.photometric), picture.shape[2] - extra
    if photometric == PALETTE:
        return _palette(page, picture[..., 0], decoding)
    if photometric == CMYK and colours >= 4:
        return colour_as_grey(picture[..., :4], bits, decoding)
    if (photometric in (RGB, YCBCR) and colours >= 3) or (photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO) and colours == 3):
        return colour_as_grey(picture[..., :3], bits, decoding)
    grey = grey_of(picture[..., 0], bits, decoding)
    return 255 - grey if photometric == WHITE_IS_ZERO else grey


def _palette(page: Any, indices: NDArray[Any], decoding: Decoding) -> GreyImage:
    """Palette colours as grey; a palette of 16 bits, unless it was written with 8."""
    colours = page.colormap
    if colours is None or colours.ndim != 2 or len(colours) != 3:
        raise BadPixels("a TIFF with a palette that is not there")
    eight = (colours >> 8 if colours.max(initial=0) > 255 else colours).astype(np.uint8)
    return colour_as_grey(eight.T[np.minimum(indices.astype(np.int64), eight.shape[1] - 1)], 8, decoding)


def _upright(grey: GreyImage, orientation: int) -> GreyImage:
    """The picture turned as tag 274 says."""
    turned = {2: grey[:, ::-1], 3: grey[::-1, ::-1], 4: grey[::-1], 5: grey.T}
    turned |= {6: grey[::-1].T, 7: grey[::-1, ::-1].T, 8: grey.T[::-1]}
    return np.ascontiguousarray(turned.get(orientation, grey))
