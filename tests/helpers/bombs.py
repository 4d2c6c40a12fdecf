"""Small files that declare much: whoever believes them allocates gigabytes, or never ends. And files with a few bytes changed."""

import gzip
import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.helpers import formats

BIG = 9_400  # a side just within 100 million pixels, and within Pillow's own limit
HUGE = 60_000


def bombs() -> dict[str, bytes]:
    """File name -> content; each has to be refused."""
    return {name: make() for name, make in _MAKERS.items()}


def mutated(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Name and content of so many small sound images, each with a few bytes changed, removed or repeated."""
    rng = random.Random(seed)
    sound = list(samples().items())
    for number in range(count):
        name, content = sound[number % len(sound)]
        data = bytearray(content)
        for _ in range(rng.choice((1, 2, 4, 16))):
            at = rng.randrange(min(len(data), rng.choice((64, 600, len(data)))))
            how = rng.randrange(5)
            if how == 0:
                del data[at : at + rng.choice((1, 4, 200))]
            elif how == 1:
                data[at:at] = data[max(0, at - 40) : at]
            elif how == 2:
                data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))
            else:
                data[at] = rng.randrange(256)
            if not data:
                data = bytearray(b"\0")
        yield f"{number}-{name}", bytes(data)


@lru_cache(maxsize=1)
def samples() -> dict[str, bytes]:
    """Name -> content of one small sound file of each kind."""
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (24, 20), dtype=np.uint8)
    pictures = [Image.fromarray(np.roll(grey, shift, 0)) for shift in range(3)]
    colour = Image.fromarray(np.dstack([grey, 255 - grey, grey]))
    several = {"save_all": True, "append_images": pictures[1:]}
    found = {
        "grey.png": _saved(pictures[0], "PNG"),
        "colour.png": _saved(colour, "PNG"),
        "deep.png": _saved(Image.fromarray(grey.astype(np.uint16) * 200), "PNG"),
        "palette.png": _saved(colour.convert("P"), "PNG", transparency=0),
        "moving.png": _saved(pictures[0], "PNG", **several),
        "grey.jpg": _saved(pictures[0], "JPEG"),
        "progressive.jpg": _saved(colour, "JPEG", progressive=True),
        "plain.tif": _saved(pictures[0], "TIFF", **several),
        "lzw.tif": _saved(pictures[0], "TIFF", compression="tiff_lzw"),
        "deflate.tif": _saved(colour, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": _saved(colour, "TIFF", compression="jpeg"),
        "float.tif": _saved(Image.fromarray(grey.astype(np.float32)), "TIFF"),
        "grey.bmp": _saved(pictures[0], "BMP"),
        "moving.gif": _saved(pictures[0], "GIF", **several),
        "lossy.webp": _saved(colour, "WEBP"),
        "lossless.webp": _saved(colour, "WEBP", lossless=True),
        "moving.webp": _saved(pictures[0], "WEBP", lossless=True, **several),
        "plain.dcm": dicom(20, 24, grey.tobytes()),
        "frames.dcm": dicom(20, 8, grey.tobytes(), frames=3),
        "jpeg.dcm": dicom(20, 24, _encapsulated(_saved(pictures[0], "JPEG")), syntax=b"1.2.840.10008.1.2.4.50"),
        "jpeg2000.dcm": dicom(20, 24, _encapsulated(_jpeg2000(pictures[0])), syntax=b"1.2.840.10008.1.2.4.90"),
        **_medical(grey),
        "volume.nii": nifti((5, 6, 4), grey.tobytes()[:240], 4),
        "volume.nii.gz": gzip.compress(nifti((5, 6, 4), grey.tobytes()[:240], 4)),
        **formats.samples(grey),
    }
    return found


def _medical(grey: NDArray[np.uint8]) -> dict[str, bytes]:
    """DICOM files with tables, palettes, functional groups and odd cells, where pydicom is there to write them."""
    try:
        from tests.helpers.dicoms import dicom as written
        from tests.helpers.dicoms import encapsulated, item, lut, opened, palette, saved
    except ImportError:
        return {}
    deep = grey.astype(np.uint16) * 15
    ramp = np.arange(256, dtype="<u2")
    tables = np.stack([ramp << 8, ramp[::-1] << 8, ramp << 8])
    segments = struct.pack("<15H", 0, 2, 0, 256, 1, 200, 60_000, 2, 1, 0, 0, 1, 52, 65_535, 0)
    curve = lut((np.linspace(0, 1, 4096) ** 2 * 65_535).astype("<u2"))
    groups = [
        item(FrameVOILUTSequence=[item(VOILUTSequence=[curve])]),
        item(FrameVOILUTSequence=[item(WindowCenter=9, WindowWidth=8)]),
    ]
    shared = [item(PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=-9)])]
    colour = np.dstack([grey, 255 - grey, grey])
    dataset = opened(written(deep, bits=12))
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    packed = opened(written(deep, bits=12))
    packed.BitsAllocated, packed.PixelData = 12, bytes(24 * 20 * 3 // 2)
    return {
        "palette.dcm": written(grey, "PALETTE COLOR", **palette(tables)),
        "segmented.dcm": written(grey, "PALETTE COLOR", **palette(tables, segmented=segments)),
        "supplemental.dcm": written(deep, bits=12, PixelPresentation="COLOR", **palette(tables, first=2000)),
        "voi.dcm": written(deep, bits=12, VOILUTSequence=[curve], PresentationLUTShape="INVERSE"),
        "modality.dcm": written(
            deep.astype(np.int16), ModalityLUTSequence=[curve], PixelPaddingValue=-9, PixelPaddingRangeLimit=9
        ),
        "groups.dcm": written(
            np.stack([deep, deep]), frames=2, PerFrameFunctionalGroupsSequence=groups, SharedFunctionalGroupsSequence=shared
        ),
        "high.dcm": written(deep << 4, bits=12, HighBit=15, WindowCenter="99", WindowWidth="50", VOILUTFunction="SIGMOID"),
        "colour.dcm": encapsulated(written(colour, "RGB"), "JPEGBaseline8Bit", [_saved(Image.fromarray(colour), "JPEG")]),
        "deflated.dcm": saved(dataset),
        "packed.dcm": saved(packed),
    }


def _saved(image: Image.Image, fmt: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def _jpeg2000(image: Image.Image) -> bytes:
    return _saved(image, "JPEG2000", no_jp2=True)


def _zeros(megabytes: int) -> bytes:
    """So many megabytes of zeros, compressed: one block again and again, and their checksum."""
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = raw.compress(bytes(1 << 20)) + raw.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + block * megabytes + b"\3\0" + struct.pack(">HH", (megabytes << 20) % 65_521, 1)


# PNG


def png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 0, interlace: int = 0, more: bytes = b"") -> bytes:
    """A PNG of these compressed rows; `more` chunks stand before them."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + header + more + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _apng(side: int, frames: int) -> bytes:
    """Every frame changes one pixel."""
    pixel = zlib.compress(b"\0\0")
    control = [struct.pack(">IIIIIHHBB", number, 1, 1, 0, 0, 1, 1, 0, 0) for number in range(2 * frames)]
    body = b"".join(
        png_chunk(b"fcTL", control[2 * n + 1]) + png_chunk(b"fdAT", struct.pack(">I", 2 * n + 2) + pixel) for n in range(frames)
    )
    rows = zlib.compress(bytes(side * (side + 1)) if side < 100 else b"", 9)
    made = png(side, side, rows, more=png_chunk(b"acTL", struct.pack(">II", frames, 0)))
    return made[:-12] + body + made[-12:]


# GIF


def _gif(side: int, frame: int, frames: int) -> bytes:
    """A screen, and frames that hold next to nothing."""
    one = b"," + struct.pack("<4HB", 0, 0, frame, frame, 0) + b"\x02\x02\x4c\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6) + one * frames + b";"


# WebP


def _riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for kind, part in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp(side: int) -> bytes:
    """One colour: without loss, a pixel then takes no bit at all."""
    data = bytearray(_saved(Image.new("RGB", (64, 64)), "WEBP", lossless=True))
    at = data.index(b"VP8L") + 9
    bits = int.from_bytes(data[at : at + 4], "little") & ~((1 << 28) - 1)
    data[at : at + 4] = (bits | (side - 1) | (side - 1) << 14).to_bytes(4, "little")
    return bytes(data)


def _moving_webp(side: int, frames: int) -> bytes:
    still = _webp(16)
    picture = still[12:]
    canvas = struct.pack("<I", 2) + (side - 1).to_bytes(3, "little") * 2
    frame = bytes(6) + (15).to_bytes(3, "little") * 2 + bytes(4) + picture
    return _riff((b"VP8X", canvas), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * frames)


# TIFF


def tiff(width: int, height: int, data: bytes, *, pages: int = 1, **tags: int) -> bytes:
    """A TIFF of one strip, on as many pages as asked for; `tags` are t259=8 and the like."""
    fields = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(data)}
    fields |= {int(name[1:]): value for name, value in tags.items()}
    size = 2 + 12 * len(fields) + 4
    start = 8 + len(data)
    made = [b"II*\0" + struct.pack("<L", start) + data]
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in sorted(fields.items()))
    for page in range(pages):
        following = start + size * (page + 1) if page + 1 < pages else 0
        made.append(struct.pack("<H", len(fields)) + entries + struct.pack("<L", following))
    return b"".join(made)


# BMP, JPEG


def _bmp(width: int, height: int, data: bytes, packed: int = 0) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, packed, len(data), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(data), 0, 0, 54 + 1024) + header + bytes(1024) + data


def _jpeg(side: int, **options: Any) -> bytes:
    """A picture of 16 x 16 pixels that says it has more."""
    data = bytearray(_saved(Image.new("L", (16, 16), 99), "JPEG", **options))
    at = data.index(b"\xff\xc2" if options else b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(data)


# DICOM


def dicom(
    width: int, height: int, pixels: bytes, *, frames: int | str = 1, bits: int = 8, syntax: bytes = b"1.2.840.10008.1.2.1",
    more: bytes = b"",
) -> bytes:  # fmt: skip
    """A secondary capture in Explicit VR Little Endian."""
    capture = b"1.2.840.10008.5.1.4.1.1.7"
    meta = _element(2, 2, b"UI", capture) + _element(2, 3, b"UI", b"1.2.3") + _element(2, 0x10, b"UI", syntax)
    packed = pixels.startswith(b"\xfe\xff")
    body = _element(8, 0x16, b"UI", capture) + more + _element(0x28, 2, b"US", struct.pack("<H", 1))
    body += _element(0x28, 4, b"CS", b"MONOCHROME2") + _element(0x28, 8, b"IS", str(frames).encode())
    for element, value in ((0x10, height), (0x11, width), (0x100, bits), (0x101, bits), (0x102, bits - 1), (0x103, 0)):
        body += _element(0x28, element, b"US", struct.pack("<H", value))
    length = 0xFFFFFFFF if packed else len(pixels)
    body += struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB" if bits == 8 or packed else b"OW", 0, length) + pixels
    start = bytes(128) + b"DICM" + _element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
    if syntax.endswith(b".1.99"):
        raw = zlib.compressobj(9, zlib.DEFLATED, -15)
        return start + raw.compress(body) + raw.flush()
    return start + body


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\0" if vr in (b"UI", b"OB") else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


def _encapsulated(*fragments: bytes) -> bytes:
    items = [b"", *(fragment + bytes(len(fragment) % 2) for fragment in fragments)]
    packed = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return packed + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def _nested(depth: int) -> bytes:
    """A sequence in a sequence in a sequence."""
    return (struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)) * depth


def _large_jpeg2000(side: int) -> bytes:
    """A picture of 16 x 16 pixels whose SIZ marker says that it, and its only tile, have more."""
    data = bytearray(_jpeg2000(Image.new("L", (16, 16), 99)))
    for at in (8, 24):
        data[at : at + 8] = struct.pack(">II", side, side)
    return bytes(data)


def _jpeg_ls(side: int) -> bytes:
    frame = b"\xff\xf7" + struct.pack(">HBHHBBBB", 11, 8, side, side, 1, 1, 0x11, 0)
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 0, 0)
    return b"\xff\xd8" + frame + scan + bytes(64) + b"\xff\xd9"


def _zip_of_much() -> bytes:
    """A zip whose five members say that they have two gigabytes each."""
    parts = formats.zipped({f"{number}.png": bytes(1000) for number in range(5)}).split(b"PK\1\2")
    return parts[0] + b"".join(b"PK\1\2" + part[:20] + b"\xff\xff\xff\x7f" + part[24:] for part in parts[1:])


def _npy_header(shape: str, dtype: str) -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode()


# NIfTI


def nifti(
    shape: tuple[int, ...], voxels: bytes, kind: int = 2, *, offset: float = 352, slope: float = 0, more: bytes = bytes(4)
) -> bytes:
    """A NIfTI-1 file: its header, four bytes (or an extension), voxels; of data type 2 (uint8), 4 (int16), 16 or 64 (floats)."""
    header = bytearray(348)
    struct.pack_into("<I", header, 0, 348)
    struct.pack_into(f"<{1 + len(shape)}h", header, 40, len(shape), *shape)
    struct.pack_into("<hh", header, 70, kind, {2: 8, 4: 16, 16: 32, 64: 64}[kind])
    struct.pack_into("<8f", header, 76, *[1.0] * 8)
    struct.pack_into("<3f", header, 108, offset, slope, 0)
    header[344:348] = b"n+1\0"
    return bytes(header) + more + voxels


@lru_cache(maxsize=1)
def _member() -> bytes:
    return gzip.compress(bytes(16 << 20), 9)


def _gzipped(start: bytes, megabytes: int) -> bytes:
    """So many megabytes of zeros behind a start, a thousand times smaller."""
    return gzip.compress(start) + _member() * (megabytes // 16)


_MAKERS: dict[str, Callable[[], bytes]] = {
    "huge.png": lambda: png(HUGE, HUGE, _zeros(1)),
    "rows-missing.png": lambda: png(BIG, BIG, zlib.compress(b"")),
    "zeros.png": lambda: png(20_000, 20_000, _zeros(400)),
    "deep.png": lambda: png(BIG, BIG, zlib.compress(b""), depth=16, colour=6),
    "interlaced.png": lambda: png(BIG, BIG, zlib.compress(b""), interlace=1),
    "text.png": lambda: png(4, 4, zlib.compress(bytes(20)), more=png_chunk(b"zTXt", b"Title\0\0" + _zeros(64))),
    "profile.png": lambda: png(4, 4, zlib.compress(b""), more=png_chunk(b"iCCP", b"p\0\0" + _zeros(64))),
    "frames.apng.png": lambda: _apng(8, 20_000),
    "canvas.apng.png": lambda: _apng(BIG, 50),
    "frames.gif": lambda: _gif(8, 1, 20_000),
    "screen.gif": lambda: _gif(65_535, 1, 1),
    "frame.gif": lambda: _gif(8, BIG, 1),
    "canvas.gif": lambda: _gif(BIG, 1, 50),
    "grown.gif": lambda: _gif(8, 65_535, 3),
    "colour.webp": lambda: _webp(BIG),
    "huge.webp": lambda: _webp(16_383),
    "canvas.webp": lambda: _moving_webp(16_384, 2),
    "frames.webp": lambda: _moving_webp(16, 20_000),
    "many.webp": lambda: _moving_webp(7_000, 100),
    "pages.tif": lambda: tiff(8, 8, bytes(64), pages=20_000),
    "huge.tif": lambda: tiff(HUGE, HUGE, bytes(64)),
    "strip-short.tif": lambda: tiff(BIG, BIG, bytes(64)),
    "deflate-short.tif": lambda: tiff(BIG, BIG, zlib.compress(bytes(64)), t259=8),
    "lzw-short.tif": lambda: tiff(BIG, BIG, bytes(64), t259=5),
    "packbits-short.tif": lambda: tiff(BIG, BIG, bytes(64), t259=32_773),
    "tile.tif": lambda: tiff(10, 10, zlib.compress(bytes(64)), t259=8, t322=HUGE, t323=HUGE, t324=8, t325=16),
    "strip.tif": lambda: tiff(BIG, BIG // 2, zlib.compress(bytes(64)), t259=8, t258=32, t278=2**31 - 1, t339=3),
    "float.tif": lambda: tiff(BIG, BIG, _zeros(BIG * BIG * 4 + (1 << 20) >> 20), t259=8, t258=32, t339=3),
    "many-pages.tif": lambda: tiff(BIG, BIG, _zeros(BIG * BIG + (1 << 20) >> 20), t259=8, pages=50),
    "huge.bmp": lambda: _bmp(HUGE, HUGE, bytes(64)),
    "rows-missing.bmp": lambda: _bmp(BIG, BIG, bytes(64)),
    "packed.bmp": lambda: _bmp(HUGE, HUGE, b"\xff\0" * 64, packed=1),
    "huge.jpg": lambda: _jpeg(65_500),
    "rows-missing.jpg": lambda: _jpeg(BIG),
    "progressive.jpg": lambda: _jpeg(BIG, progressive=True),
    "huge.dcm": lambda: dicom(65_535, 65_535, bytes(64)),
    "rows-missing.dcm": lambda: dicom(BIG, BIG, bytes(64)),
    "frames.dcm": lambda: dicom(1, 1, bytes(64), frames=1_000_000_000),
    "frames-missing.dcm": lambda: dicom(4_000, 4_000, bytes(64), frames=200, bits=16),
    "deflated.dcm": lambda: dicom(8, 8, bytes(64 << 20), syntax=b"1.2.840.10008.1.2.1.99"),
    "rle.dcm": lambda: dicom(BIG, BIG, _encapsulated(bytes(128)), syntax=b"1.2.840.10008.1.2.5"),
    "jpeg.dcm": lambda: dicom(16, 16, _encapsulated(_jpeg(65_500)), syntax=b"1.2.840.10008.1.2.4.50"),
    "jpeg-short.dcm": lambda: dicom(BIG, BIG, _encapsulated(_jpeg(BIG)), syntax=b"1.2.840.10008.1.2.4.50"),
    "jpeg2000.dcm": lambda: dicom(16, 16, _encapsulated(_large_jpeg2000(HUGE)), syntax=b"1.2.840.10008.1.2.4.90"),
    "jpeg-ls.dcm": lambda: dicom(16, 16, _encapsulated(_jpeg_ls(HUGE)), syntax=b"1.2.840.10008.1.2.4.80"),
    "nested.dcm": lambda: dicom(8, 8, bytes(64), more=_nested(20_000)),
    "huge.nii": lambda: nifti((30_000, 30_000, 30_000), bytes(64)),
    "voxels-missing.nii": lambda: nifti((512, 512, 1000), bytes(64), 4),
    "slices.nii": lambda: nifti((1, 1, 32_000, 10), bytes(320_000)),
    "far.nii": lambda: nifti((4, 4, 4), bytes(64), offset=1e9),
    "tiny.nii.gz": lambda: gzip.compress(nifti((9_000, 9_000, 10), b"", 4)),
    "voxels-missing.nii.gz": lambda: _gzipped(nifti((512, 512, 1000), b"", 64), 64),
    "zeros.nii.gz": lambda: _gzipped(nifti((1_000, 1_000, 900), b"", 64), 7_200),
    "scaled.nii.gz": lambda: _gzipped(nifti((1_000, 1_000, 400), b"", 16, slope=2), 1_600),
    "series.nii.gz": lambda: _gzipped(nifti((1_000, 1_000, 500, 10), b"", 2), 4_800),
    "extension.nii.gz": lambda: _gzipped(nifti((4, 4, 4), b"", offset=2e9, more=struct.pack("<III", 1, 2**31 - 16, 6)), 512),
    "dtype.npy": lambda: _npy_header("(9400, 9400)", "<f8"),
    "frames.npy": lambda: _npy_header("(1000000000, 8, 8)", "|u1"),
    "huge.npy": lambda: _npy_header("(1, 99999999999, 99999999999)", "|u1"),
    "objects.npy": lambda: _npy_header("(8, 8)", "|O"),
    "zeros.npz": lambda: formats.zipped({"a.npy": _npy_header("(2, 9000, 9000)", "|u1") + bytes(2 * 9000 * 9000)}),
    "zeros.zip": lambda: _zip_of_much(),
    "members.zip": lambda: formats.zipped(dict.fromkeys(map(str, range(20_000)), b"")),
    "huge.tar": lambda: formats.tarred({"a.png": b"x"}).replace(b"00000000001\0", b"77777777777\0", 1),
    "huge.jp2": lambda: _large_jpeg2000(HUGE),
    "tile.jp2": lambda: _large_jpeg2000(BIG),
    "huge.mha": lambda: formats.metaimage(np.zeros((2, 8, 8), np.uint8)).replace(b"= 8 8 2", b"= 60000 60000 60000"),
    "zeros.mha": lambda: formats.metaimage(np.zeros((20, 1000, 1000), np.uint8), compressed=True).replace(b" 20\n", b" 900\n"),
    "huge.nrrd": lambda: formats.nrrd(np.zeros((2, 8, 8), np.uint8)).replace(b"8 8 2", b"60000 60000 60000"),
    "stack.tif": lambda: formats.tiff(np.zeros((2, 8, 8), np.uint8), imagej=True).replace(b"images=2", b"images=2000000000"),
    "depth.tif": lambda: tiff(8, 8, bytes(64), t32997=2**31 - 1),
    "planes.tif": lambda: tiff(BIG, BIG, zlib.compress(bytes(64)), t259=8, t277=200, t284=2),
    "gzip.png": lambda: _gzipped(b"", 512),
    "gzip.nii": lambda: _gzipped(b"", 512),
}  # fmt: skip
