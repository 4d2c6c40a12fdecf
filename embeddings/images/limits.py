"""Check the size that a file's header declares against its bytes and the limits, before any decoder allocates memory.

Sizes come from headers alone. A compressed file cannot hold more than its method can pack: deflate packs 1,032 bytes into one,
GIF and TIFF LZW and JPEG less. WebP, JPEG 2000 and CCITT have no such bound; there the limits alone hold.
"""

import itertools
import struct
from collections.abc import Iterator, Mapping

from embeddings.images.decoding import Decoding
from embeddings.images.errors import TooManyPixels, Truncated

FRAMES = 10_000  # of an animation, a TIFF or a DICOM file
SLICES = 100_000  # of a NIfTI file
ALL_FRAMES = 40  # times max_pixels: the pixels of all frames together
DEFLATE = 1032  # bytes out of one
LZW = 2731  # codes of 12 bits, each for at most 4,096 bytes
PACKBITS = 64
JPEG = 512  # pixels: a bit for a block of 64


def check_size(width: int, height: int, limit: int) -> None:
    """Raises TooManyPixels where a picture is larger than the limit."""
    if width * height > limit:
        raise TooManyPixels(f"{width} x {height} pixels declared, at most {limit} are allowed")


def check_memory(needed: int, decoding: Decoding) -> None:
    """Raises TooManyPixels where decoding would take more bytes than allowed."""
    if needed > decoding.memory:
        allowed = f"at most {decoding.memory // 1_000_000} MB are allowed"
        raise TooManyPixels(f"decoding takes {needed // 1_000_000} MB of memory, {allowed}")


def check_frames(frames: int, pixels: int, decoding: Decoding, most: int = FRAMES) -> None:
    """Raises TooManyPixels where a file has too many frames, or too many pixels in all of them."""
    if frames > most:
        raise TooManyPixels(f"{frames} frames declared, at most {most} are allowed")
    if pixels > ALL_FRAMES * decoding.max_pixels:
        raise TooManyPixels(f"{pixels} pixels declared in all frames, at most {ALL_FRAMES * decoding.max_pixels} are allowed")


def check_there(needed: int, there: int) -> None:
    """Raises Truncated where pixels are declared that the bytes cannot hold."""
    if needed > there:
        raise Truncated(f"cut short or damaged: {needed} bytes of pixels declared, the file cannot hold more than {there}")


# PNG


def check_png(data: bytes, decoding: Decoding) -> None:
    """The rows fit into what the data can hold; an animation into the limits.

    Raises:
        ImageError: they do not.
    """
    needed = there = frames = pixels = 0
    for kind, body, end in _png_chunks(data):
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, body)
            check_size(width, height, decoding.max_pixels)
            pixels = max(pixels, width * height)
            needed = max(needed, _png_bytes(width, height, depth * {2: 3, 4: 2, 6: 4}.get(colour, 1), interlace))
        elif kind == b"IDAT":
            there += end - body
        elif kind == b"fcTL":
            frames += 1
    check_frames(frames, frames * pixels, decoding)
    check_there(needed, there * DEFLATE)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each chunk, and where its body begins and ends."""
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at + 8, min(at + 8 + length, len(data))
        at += 12 + length


def _png_bytes(width: int, height: int, bits: int, interlace: int) -> int:
    """Of the rows, each with its filter byte; of seven smaller pictures where interlaced."""
    if not interlace:
        return height * (1 + -(-width * bits // 8))
    adam7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    sizes = [(max(0, -(-(width - x) // dx)), max(0, -(-(height - y) // dy))) for x, y, dx, dy in adam7]
    return sum(h * (1 + -(-w * bits // 8)) for w, h in sizes if w)


# GIF


def check_gif(data: bytes, limit: int, decoding: Decoding) -> None:
    """Walk the blocks of a GIF: Pillow takes a missing rest for the end of the animation, and grows the picture as frames ask.

    Raises:
        TooManyPixels: the screen, a frame or their number goes beyond the limits.
        Truncated: the file ends before its end mark, or a frame is larger than its data can hold.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    check_size(width, height, limit)
    at, frames, size = 13 + _gif_palette(flags), 0, 0
    while (kind := data[at : at + 1]) != b";":
        at += 1
        if kind == b",":
            left, top, across, down, flags = struct.unpack_from("<4HB", data, at)
            width, height = max(width, left + across), max(height, top + down)
            check_size(width, height, limit)
            at, frames, size = at + 9 + _gif_palette(flags), frames + 1, across * down
            check_frames(frames, frames * width * height, decoding)
        if kind in (b",", b"!"):
            at += 1  # code size, or label of the extension
            start = at
            while length := data[at]:
                at += 1 + length
            at += 1
            if kind == b",":
                check_there(size, (at - start) * LZW)
        elif not kind:
            raise Truncated("cut short or damaged: the GIF has no end mark")


def _gif_palette(flags: int) -> int:
    """Bytes of the palette that the flags announce."""
    return 3 << (flags & 7) + 1 if flags & 128 else 0


# TIFF

_TIFF_TYPES = {1: "B", 2: "B", 3: "H", 4: "L", 5: "Q", 6: "b", 7: "B", 8: "h", 9: "l", 10: "q", 11: "f", 12: "d", 13: "L"}
_TIFF_TYPES |= {16: "Q", 17: "q", 18: "Q"}
_TIFF_RATIO = {1: 1, 5: LZW, 6: JPEG, 7: JPEG, 8: DEFLATE, 32946: DEFLATE, 32773: PACKBITS}  # by kind of compression


def check_tiff(data: bytes, limit: int, decoding: Decoding) -> list[Mapping[int, tuple[float, ...]]]:
    """Walk the directories of a TIFF: of one cut short Pillow takes the tags that are left, and so loses pages or misreads them.

    Returns:
        For each page the values of the tags that say what its samples are.

    Raises:
        Truncated: a directory, the values of a tag, or pixels go beyond the end of the file.
        TooManyPixels: a page, a strip or tile of it, or the number of pages goes beyond the limits.
    """
    order = "<" if data[:2] == b"II" else ">"
    (big,) = struct.unpack_from(order + "H", data, 2)
    count, pointer = ("Q", "Q") if big == 43 else ("H", "L")
    entry = f"HH{pointer}{pointer}"
    (offset,) = struct.unpack_from(order + pointer, data, 8 if big == 43 else 4)
    seen: set[int] = set()
    pages: list[Mapping[int, tuple[float, ...]]] = []
    pixels = 0
    while offset and offset not in seen:  # Pillow ends at a loop too
        seen.add(offset)
        (entries,) = struct.unpack_from(order + count, data, offset)
        offset += struct.calcsize(order + count)
        tags = {}
        for _ in range(entries):
            tag, kind, values, place = struct.unpack_from(order + entry, data, offset)
            width = struct.calcsize(order + _TIFF_TYPES[kind]) if kind in _TIFF_TYPES else 0
            inline = struct.calcsize(order + pointer)
            if width * values > inline and place + width * values > len(data):
                raise Truncated("cut short or damaged: a TIFF tag lies beyond the end of the file")
            if tag == TIFF_DESCRIPTION:
                values = min(values, _TIFF_DESCRIBED)
            if tag in _TIFF_NUMBERS and width:
                start = offset + struct.calcsize(order + "HH" + pointer) if width * values <= inline else place
                tags[tag] = struct.unpack_from(f"{order}{values}{_TIFF_TYPES[kind]}", data, start)
            offset += struct.calcsize(order + entry)
        pixels += _check_tiff_page(tags, len(data), limit, decoding)
        pages.append({tag: values for tag, values in tags.items() if tag not in _TIFF_PLACES})
        check_frames(len(seen), pixels, decoding)
        (offset,) = struct.unpack_from(order + pointer, data, offset)
    return pages


TIFF_DESCRIPTION = 270
_TIFF_DESCRIBED = 16  # characters of the description that are looked at
_TIFF_PLACES = (273, 279, 324, 325)  # of strips and tiles
_TIFF_NUMBERS = (
    254,
    256,
    257,
    258,
    259,
    262,
    266,
    TIFF_DESCRIPTION,
    277,
    278,
    284,
    317,
    322,
    323,
    338,
    339,
    530,
    32997,
    *_TIFF_PLACES,
)


def _check_tiff_page(tags: Mapping[int, tuple[float, ...]], size: int, limit: int, decoding: Decoding) -> int:
    """Pixels of a page whose strips or tiles are there and small enough."""

    def first(tag: int, default: int) -> int:
        return int(tags.get(tag, ())[0]) if tags.get(tag) else default

    width, height = first(256, 0), first(257, 0)
    check_size(width, height, limit)
    samples = max(1, first(277, 1))
    bits = samples * max((int(b) for b in tags.get(258, (1,))), default=1)
    tiled = 322 in tags or 323 in tags
    across, down = (first(322, width), first(323, height)) if tiled else (width, min(first(278, height), height))
    if down and across:
        check_memory(across * down * max(bits, 8) // 8 + size, decoding)  # libtiff holds one strip or tile
    needed = height * -(-width * bits // 8)
    if first(262, 0) == 6 and 530 in tags:  # colour of fewer pixels than brightness
        needed //= 3
    compression = first(259, 1)
    offsets, lengths = tags.get(324, tags.get(273, ())), tags.get(325, tags.get(279, ()))
    there = sum(max(0, min(int(length), size - int(at))) for at, length in zip(offsets, lengths, strict=False))
    if not all(lengths):  # what is all background may be left out
        needed = min(needed, there)
    if compression in _TIFF_RATIO and len(lengths) == len(offsets) and lengths:
        check_there(needed, (there + 64 * len(lengths)) * _TIFF_RATIO[compression] if compression != 1 else there)
    return width * height


# WebP, BMP, JPEG


def check_webp(data: bytes, limit: int, decoding: Decoding) -> None:
    """The canvas, and all frames, are within the limits: Pillow's decoder allocates two canvases as soon as it is made.

    Raises:
        TooManyPixels: they are not.
    """
    width = height = frames = 0
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        found = _webp_size(kind, data[at + 8 : at + 18])
        width, height = max(width, found[0]), max(height, found[1])
        frames += kind == b"ANMF"
        at += 8 + length + length % 2
    check_size(width, height, limit)
    check_frames(frames, frames * width * height, decoding)
    check_memory(28 * width * height + len(data), decoding)


def _webp_size(kind: bytes, head: bytes) -> tuple[int, int]:
    """Width and height that a chunk declares."""
    if len(head) < 10:
        return 0, 0
    if kind == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return 0, 0


def check_bmp(data: bytes, decoding: Decoding) -> None:
    """The rows of an uncompressed BMP are there.

    Raises:
        ImageError: they are not, or there are too many.
    """
    (offset, header) = struct.unpack_from("<II", data, 10)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        packed = 0
    else:
        width, height, _, bits, packed = struct.unpack_from("<iiHHI", data, 18)
    width, height = abs(width), abs(height)
    check_size(width, height, decoding.max_pixels)
    if packed in (0, 3, 6):  # neither of the run-length kinds
        check_there(height * (-(-width * bits // 32) * 4), max(0, len(data) - offset) + 3)  # the last padding may be missing


def check_jpeg(data: bytes, decoding: Decoding) -> None:
    """The picture of a JPEG, and of JPEG-LS, is within what its data can hold.

    Raises:
        ImageError: it is not.
    """
    for marker, at in jpeg_frames(data):
        height, width = struct.unpack_from(">HH", data, at + 1)
        check_size(width, height, decoding.max_pixels)
        if marker in (0xC0, 0xC1, 0xC2):  # Huffman codes; arithmetic ones may be shorter than a bit
            check_there(width * height, (len(data) - at) * JPEG)


_SOF = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # starts of frames; 0xF7 is that of JPEG-LS


def jpeg_frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker of each start of a frame (SOF) before the first scan, and where its precision stands."""
    return ((marker, at) for marker, at, _ in jpeg_segments(data) if marker in _SOF and at + 5 <= len(data))


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker of each segment up to the start of the first scan (SOS), and where its contents begin and end."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at = data.find(b"\xff", at)
            if at < 0:
                return
            continue
        marker = data[at + 1]
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at + 4, min(end, len(data))
        if marker == 0xDA:
            return
        at = end


def jpeg2000_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG 2000 codestream, bare or in its file format; 0 x 0 where it is none."""
    at = data.find(b"\xff\x4f\xff\x51") if data.startswith((b"\xff\x4f", b"\0\0\0\x0cjP")) else -1
    if at < 0 or at + 24 > len(data):
        return 0, 0
    right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
    return max(0, right - left), max(0, bottom - top)


def codestream_size(data: bytes) -> tuple[int, int]:
    """Width and height that one compressed frame inside DICOM declares: JPEG, JPEG-LS or JPEG 2000; 0 x 0 for others."""
    if data[:2] == b"\xff\xd8":
        sizes = [struct.unpack_from(">HH", data, at + 1) for _, at in itertools.islice(jpeg_frames(data), 8)]
        return max(((width, height) for height, width in sizes), default=(0, 0), key=lambda size: size[0] * size[1])
    return jpeg2000_size(data)


def codestream_samples(data: bytes) -> tuple[int, int]:
    """Samples a pixel and bits of a sample that a compressed frame inside DICOM declares; 0 and 0 where it does not."""
    if data[:2] == b"\xff\xd8":
        return next(((data[at + 5], data[at]) for _, at in jpeg_frames(data) if at + 5 < len(data)), (0, 0))
    at = data.find(b"\xff\x4f\xff\x51") if data.startswith((b"\xff\x4f", b"\0\0\0\x0cjP")) else -1
    if at < 0 or at + 43 > len(data):
        return 0, 0
    samples, depth = struct.unpack_from(">HB", data, at + 40)
    return samples, (depth & 0x7F) + 1
