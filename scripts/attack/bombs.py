"""Files of a few bytes that declare, or unpack to, gigabytes: one of each kind."""

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache

Bomb = tuple[str, bytes]  # name of a file, content
HUGE = 60_000  # pixels of a side: 3.6 GB of grey


def bombs() -> Iterator[Bomb]:
    """All of them; about 40 files, 25 MB."""
    yield from _png()
    yield from _gif()
    yield from _webp()
    yield from _tiff()
    yield from _bmp()
    yield from _jpeg()
    yield from _dicom()
    yield from _nifti()


# PNG


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_of(width: int, height: int, depth: int, colour: int, rows: bytes, before: bytes = b"") -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + before + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _png() -> Iterator[Bomb]:
    zeros, small = zeros_packed(400_000_000), zlib.compress(bytes(65 * 64))
    yield "declared.png", _png_of(HUGE, HUGE, 8, 0, b"")
    yield "unpacked.png", _png_of(20_000, 20_000, 8, 0, zeros)
    yield "one_bit.png", _png_of(56_000, 56_000, 1, 0, zeros)
    yield "deep.png", _png_of(7_000, 7_000, 16, 6, zeros)
    yield "wide.png", _png_of(2**31 - 1, 1, 8, 0, zeros)
    yield "text.png", _png_of(64, 64, 8, 0, small, _chunk(b"zTXt", b"a\0\0" + zeros))
    yield "profile.png", _png_of(64, 64, 8, 0, small, _chunk(b"iCCP", b"a\0\0" + zeros))
    yield "behind.png", _png_of(64, 64, 8, 0, zeros)  # a small picture, and 400 MB behind it
    control = _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    frame = struct.pack(">IIIIIHHBB", 0, 64, 64, 0, 0, 1, 1, 0, 0)
    many = b"".join(_chunk(b"fcTL", frame) for _ in range(20_000))
    yield "animated.png", _png_of(64, 64, 8, 0, small, control + many)


@cache
def zeros_packed(size: int) -> bytes:
    """So many zero bytes as zlib packs them: a thousandth."""
    packer, block = zlib.compressobj(9), bytes(1 << 20)
    return b"".join(
        [*(packer.compress(block) for _ in range(size >> 20)), packer.compress(bytes(size & 0xFFFFF)), packer.flush()]
    )


# GIF


def _gif_frame(left: int, top: int, width: int, height: int) -> bytes:
    return struct.pack("<BHHHHB", 0x2C, left, top, width, height, 0) + b"\x02\x02\x44\x01\x00"


def _gif_of(width: int, height: int, frames: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frames + b";"


def _gif() -> Iterator[Bomb]:
    yield "screen.gif", _gif_of(65_535, 65_535, _gif_frame(0, 0, 1, 1))
    yield "frame.gif", _gif_of(1, 1, _gif_frame(0, 0, 65_535, 65_535))
    yield "outside.gif", _gif_of(10, 10, _gif_frame(65_000, 65_000, 500, 500))
    yield "frames.gif", _gif_of(2_000, 2_000, _gif_frame(0, 0, 1, 1) * 20_000)
    yield "many_frames.gif", _gif_of(10, 10, _gif_frame(0, 0, 1, 1) * 300_000)


# WebP


def _webp_of(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _even(width: int, height: int) -> bytes:
    """A picture of one colour, without loss: five codes of one symbol each, and not a bit for a pixel."""
    bits = f"{0:03b}{0:01b}{height - 1:014b}{width - 1:014b}"
    codes = "000" + "".join("1" + "0" + "0" + "0" for _ in range(5))
    stream = bits[::-1] + codes
    stream += "0" * (-len(stream) % 8)
    return b"\x2f" + bytes(int(stream[i : i + 8][::-1], 2) for i in range(0, len(stream), 8)) + bytes(4)


def _canvas(width: int, height: int, flags: int = 2) -> tuple[bytes, bytes]:
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def _webp_frame(width: int, height: int) -> tuple[bytes, bytes]:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    data = _even(width, height)
    inner = b"VP8L" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"ANMF", bytes(6) + sides + b"\x01\0\0" + b"\0" + inner


def _webp() -> Iterator[Bomb]:
    animation = (b"ANIM", bytes(6))
    yield "even.webp", _webp_of((b"VP8L", _even(16_383, 16_383)))
    yield "canvas.webp", _webp_of(_canvas(2**24, 2**8), animation, _webp_frame(16, 16))
    yield "frames.webp", _webp_of(_canvas(9_000, 9_000), animation, *[_webp_frame(9_000, 9_000)] * 500)
    lossy = b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383) + bytes(200)
    yield "lossy.webp", _webp_of((b"VP8 ", lossy))


# TIFF


def _tiff_of(data: bytes, tags: dict[int, tuple[int, int, int]], following: int = 0) -> bytes:
    """One directory behind the data; tags: number -> (type, count, value)."""
    at = 8 + len(data)
    entries = b"".join(struct.pack("<HHII", tag, *value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", at) + data + struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)


def _page(width: int, height: int, packed: int, size: int, bits: int = 8) -> dict[int, tuple[int, int, int]]:
    """Tags of a grey page in one strip that begins at byte 8."""
    values = {256: width, 257: height, 258: bits, 259: packed, 262: 1, 273: 8, 277: 1, 278: height, 279: size}
    return {tag: (4 if tag in (256, 257, 273, 278, 279) else 3, 1, value) for tag, value in values.items()}


def _tiff() -> Iterator[Bomb]:
    zeros = zeros_packed(400_000_000)
    yield "declared.tif", _tiff_of(bytes(8), _page(HUGE, HUGE, 1, 8))
    yield "deflate.tif", _tiff_of(zeros, _page(20_000, 20_000, 8, len(zeros)))
    yield "deflate_huge.tif", _tiff_of(zeros, _page(HUGE, HUGE, 8, len(zeros)))
    yield "lzw.tif", _tiff_of(b"\x80\x00\x20", _page(HUGE, HUGE, 5, 3))
    yield "packbits.tif", _tiff_of(b"\x81\x00" * 1000, _page(HUGE, HUGE, 32773, 2000))
    yield "fax.tif", _tiff_of(b"\xff" * 100, _page(HUGE, HUGE, 4, 100, bits=1))
    yield "count.tif", _tiff_of(bytes(8), _page(64, 64, 1, 2**32 - 1))
    yield "values.tif", _tiff_of(bytes(8), {**_page(64, 64, 1, 8), 270: (2, 2**32 - 1, 8)})
    tile = {322: (4, 1, HUGE), 323: (4, 1, HUGE), 324: (4, 1, 8), 325: (4, 1, 8)}
    yield "tile.tif", _tiff_of(bytes(8), {**_page(HUGE, HUGE, 8, 8), **tile})
    yield "loop.tif", _tiff_of(bytes(8), _page(64, 64, 1, 8), following=16)
    one = struct.pack("<H", 9) + b"".join(struct.pack("<HHII", t, *v) for t, v in sorted(_page(64, 64, 1, 4096).items()))
    length = len(one) + 4
    pages = b"".join(one + struct.pack("<I", 8 + 4096 + length * (n + 1)) for n in range(20_000))
    yield "pages.tif", b"II*\0" + struct.pack("<I", 8 + 4096) + bytes(4096) + pages[:-4] + bytes(4)
    yield "big.tif", b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60)


# BMP and JPEG


def _bmp() -> Iterator[Bomb]:
    head = b"BM" + struct.pack("<IIIIiiHHIIIIII", 0, 0, 1078, 40, HUGE, HUGE, 1, 8, 0, 0, 0, 0, 256, 0) + bytes(1024)
    yield "declared.bmp", head
    run = head[:30] + struct.pack("<I", 1) + head[34:] + b"\xff\x00" * 1000
    yield "runs.bmp", run


def _jpeg() -> Iterator[Bomb]:
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (64, 64), 90).save(file, "JPEG")
    small = file.getvalue()
    at = small.index(b"\xff\xc0") + 5
    yield "declared.jpg", small[:at] + struct.pack(">HH", 65_500, 65_500) + small[at + 4 :]
    file = io.BytesIO()
    Image.new("L", (5_000, 5_000), 90).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    yield "scans.jpg", whole[:-2] + scan * 40 + whole[-2:]


# DICOM and NIfTI


def _dicom_of(rows: int, columns: int, frames: int, pixels: bytes, syntax: bytes = b"1.2.840.10008.1.2.1") -> bytes:
    def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        length = struct.pack("<HI", 0, len(value)) if kind in (b"OW", b"OB", b"SQ") else struct.pack("<H", len(value))
        return struct.pack("<HH", group, number) + kind + length + value

    short = struct.Struct("<H").pack
    meta = element(2, 0x10, b"UI", syntax)
    meta = element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
    numbers = {0x10: rows, 0x11: columns, 0x100: 16, 0x101: 16, 0x102: 15, 0x103: 0}
    body = element(0x28, 2, b"US", short(1)) + element(0x28, 4, b"CS", b"MONOCHROME2")
    body += element(0x28, 8, b"IS", str(frames).encode())
    body += b"".join(element(0x28, number, b"US", short(value)) for number, value in numbers.items())
    return bytes(128) + b"DICM" + meta + body + (pixels if syntax.endswith(b".5") else element(0x7FE0, 0x10, b"OW", pixels))


def _dicom() -> Iterator[Bomb]:
    yield "declared.dcm", _dicom_of(65_535, 65_535, 1, bytes(8))
    yield "frames.dcm", _dicom_of(64, 64, 2_000_000_000, bytes(8192))
    yield "sides.dcm", _dicom_of(65_535, 65_535, 1_000_000, bytes(8192))
    head = struct.pack("<16I", 1, 64, *[0] * 14)
    run = head + b"\x81\x00" * 4000
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, len(run)) + run
    encapsulated = struct.pack("<HH", 0x7FE0, 0x10) + b"OB" + struct.pack("<HI", 0, 2**32 - 1) + items
    yield "runs.dcm", _dicom_of(65_535, 65_535, 1, encapsulated, b"1.2.840.10008.1.2.5")
    yield (
        "undefined.dcm",
        bytes(128) + b"DICM" + (struct.pack("<HH", 8, 0x1140) + b"SQ\0\0" + struct.pack("<I", 2**32 - 1)) * 5000,
    )


def _nifti_of(sides: tuple[int, int, int], kind: int = 2, offset: float = 352.0) -> bytes:
    bits = {2: 8, 4: 16, 16: 32, 64: 64}[kind]
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, *sides, 1, 1, 1, 1)
    struct.pack_into("<hh", head, 70, kind, bits)
    struct.pack_into("<8f", head, 76, *[1.0] * 8)
    struct.pack_into("<fff", head, 108, offset, 1.5, 0.0)
    head[344:348] = b"n+1\0"
    return bytes(head)


def _nifti() -> Iterator[Bomb]:
    big, cube = (30_000, 30_000, 8), (1_200, 1_200, 1_300)
    yield "declared.nii", _nifti_of((32_767, 32_767, 32_767))
    yield "header.nii.gz", gzip.compress(_nifti_of(big))
    yield "floats.nii.gz", gzip.compress(_nifti_of(big, kind=64))
    yield "offset.nii.gz", gzip.compress(_nifti_of((10, 10, 10), offset=3e9))
    yield "minus.nii.gz", gzip.compress(_nifti_of((-5, -5, 20)))
    member = gzip.compress(bytes(1_000_000))  # a file may be several, one behind the other
    unpacked = gzip.compress(_nifti_of(cube)) + member * 1_872
    yield "unpacked.nii.gz", unpacked
    for _ in range(3):
        unpacked = gzip.compress(unpacked)
    yield "packed_again.nii.gz", unpacked
