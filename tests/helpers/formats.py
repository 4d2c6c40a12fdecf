"""Small sound files of the kinds that libraries beside Pillow read: TIFF, JPEG 2000, arrays, archives, tables, volumes."""

import io
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

# Never imported here: its wrappers and those of FAISS, both by SWIG, take each other's types in one process.
NEEDS_SIMPLEITK = pytest.mark.skipif(find_spec("SimpleITK") is None, reason="SimpleITK is not installed")
HEIC = Path(__file__).parents[1] / "data" / "formats" / "grey.heic"


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    """A TIFF as tifffile writes it."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def jpeg2000(values: NDArray[Any], **options: Any) -> bytes:
    """A JPEG 2000 file as OpenJPEG writes it."""
    return bytes(imagecodecs.jpeg2k_encode(values, **options))


def png(values: NDArray[Any]) -> bytes:
    """A PNG of 8-bit grey."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def npy(values: NDArray[Any]) -> bytes:
    """An .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def npz(compressed: bool = False, **arrays: NDArray[Any]) -> bytes:
    """An .npz file of named arrays."""
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: Mapping[str, bytes]) -> bytes:
    """A tar archive without compression."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def parquet(columns: Mapping[str, Sequence[Any]], rows: int = 1000) -> bytes:
    """A Parquet file with row groups of so many rows."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: pa.array(list(values)) for name, values in columns.items()}), buffer, row_group_size=rows)
    return buffer.getvalue()


def metaimage(values: NDArray[Any], compressed: bool = False, data_file: str = "LOCAL", **fields: str) -> bytes:
    """A MetaImage file of [z, y, x] (or [y, x]) values, by its definition; only the header where the data lie elsewhere."""
    kinds = {"uint8": "MET_UCHAR", "int16": "MET_SHORT", "uint16": "MET_USHORT", "float32": "MET_FLOAT"}
    data = values.tobytes()
    if compressed:
        data = zlib.compress(data)
    header = {"ObjectType": "Image", "NDims": str(values.ndim), "BinaryData": "True", "BinaryDataByteOrderMSB": "False"}
    header |= {"CompressedData": str(compressed), **({"CompressedDataSize": str(len(data))} if compressed else {}), **fields}
    header |= {"DimSize": " ".join(map(str, values.shape[::-1])), "ElementType": kinds[str(values.dtype)]}
    text = "".join(f"{name} = {value}\n" for name, value in header.items()) + f"ElementDataFile = {data_file}\n"
    return text.encode() + (data if data_file == "LOCAL" else b"")


def nrrd(values: NDArray[Any], data_file: str = "", **fields: str) -> bytes:
    """An NRRD file of [z, y, x] values, by its definition; only the header where the data lie elsewhere."""
    header = {"type": str(values.dtype), "dimension": str(values.ndim), "sizes": " ".join(map(str, values.shape[::-1]))}
    header |= {"endian": "little", "encoding": "raw", **fields}
    text = "NRRD0004\n" + "".join(f"{name.replace('_', ' ')}: {value}\n" for name, value in header.items())
    return (text + (f"data file: {data_file}\n" if data_file else "") + "\n").encode() + (b"" if data_file else values.tobytes())


def samples(grey: NDArray[np.uint8]) -> dict[str, bytes]:
    """Name -> content of one small file of each kind, showing this picture."""
    colour = np.dstack([grey, 255 - grey, grey])
    stack = np.stack([np.roll(grey, shift, 0) for shift in range(3)])
    pngs = {f"{number}.png": png(picture) for number, picture in enumerate(stack)}
    cells = [{"bytes": content, "path": name} for name, content in pngs.items()]
    avif = io.BytesIO()
    Image.fromarray(colour).save(avif, "AVIF")
    return {
        "signed.tif": tiff(grey.view(np.int8)),
        "planar.tif": tiff(colour.transpose(2, 0, 1).astype(np.uint16), photometric="rgb", planarconfig="separate"),
        "double.tif": tiff(grey / 255.0, compression="zlib", predictor=True),
        "big.tif": tiff(stack.astype(np.uint16) * 9, bigtiff=True, photometric="minisblack"),
        "tiles.tif": tiff(grey, tile=(16, 16), compression="lzw"),
        "imagej.tif": tiff(stack, imagej=True),
        "twelve.tif": tiff(grey.astype(np.uint16), bitspersample=12),
        "grey.jp2": jpeg2000(grey, level=0),
        "deep.j2k": jpeg2000(grey.astype(np.uint16) * 16, level=0, bitspersample=12, codecformat="j2k"),
        "colour.avif": avif.getvalue(),
        "grey.heic": HEIC.read_bytes(),
        "stack.npy": npy(stack),
        "floats.npy": npy(stack / np.float32(127.5) - 1),
        "column.npy": npy(np.asfortranarray(stack)),
        "stored.npz": npz(images=stack, labels=np.zeros((3, 1))),
        "packed.npz": npz(True, images=stack),
        "images.zip": zipped({**pngs, "read.txt": b"x"}),
        "images.tar": tarred({**pngs, "0.cls": b"1"}),
        "images.parquet": parquet({"image": cells, "label": range(3)}, 2),
        "volume.mha": metaimage(stack.astype(np.int16)),
        "packed.mha": metaimage(stack, compressed=True),
        "volume.nrrd": nrrd(stack.astype(np.int16)),
    }
