#!/usr/bin/env python3
"""Measure the memory of comparing stored vectors: `compare` on collections, with the measures that an audit's methods plan.

Collections of random vectors are written to a temporary folder, in four views of the sizes that an index has by default (256
bits, and three times 256 floats), and a child process compares them for each number of generated images: neighbours, moments,
histograms, the combined view, scores, and what the quick methods of an audit measure; then these methods predict.

Figures, in bytes: `peak` is the largest resident memory (VmHWM). It counts pages of mapped files, which the system takes back
when it needs them. `anonymous` is the largest resident memory without them (RssAnon, looked at 20 times a second); `before` is
the same with the libraries loaded and the collections open. `limit` is what `anonymous` must stay below.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common.drawn import VIEWS, drawn, status, watched
from numpy.lib import format as npy
from result_file import write_results

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import make_folder, write_atomic
from embeddings.images.orientation import Orientation
from embeddings.types import EmbeddingSpec, GreyImage
from indexer.collection import IMAGES, Collection, view_files
from indexer.files import sha256_of
from indexer.manifest import Manifest, Provenance, ViewEntry
from indexer.types import IndexSpec
from query.inputs.images import images_of
from query.inputs.sides import Sides

LIMIT = 2 << 30  # bytes, for 200 real images against 1,000,000 generated ones
_ROWS = 50_000  # vectors drawn at a time
_PATIENT = 5  # real images of one


# Collections of random vectors


def write_collection(folder: Path, count: int, seed: int) -> None:
    """A collection of so many images without pixels, its vectors and exact indexes."""
    from indexer.search.faiss_index import build, save

    entries = {}
    for number, (name, spec) in enumerate(VIEWS.items()):
        files = {kind: folder / path for kind, path in view_files(name).items()}
        make_folder(files["vectors"].parent)
        write_vectors(files["vectors"], spec, count, np.random.default_rng([seed, number]))
        save(build(spec, np.load(files["vectors"], mmap_mode="r"), IndexSpec()), files["index"])
        entries[name] = ViewEntry(spec, {}, "", "float32", IndexSpec().factory_for(spec.metric), 1.0)
    write_atomic(folder / IMAGES, lambda file: pq.write_table(images(count), file))
    checksums = {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    nothing: dict[str, dict[str, str]] = {name: {} for name in ("decoding", "sample", "index", "versions")}
    origin = Provenance(str(folder), 0, [], Orientation.AS_IS, "", views=entries, **nothing).provenance  # type: ignore[arg-type]
    Manifest(**origin, images=count, failed=0, files=checksums).write(folder)


def write_vectors(path: Path, spec: EmbeddingSpec, count: int, rng: np.random.Generator) -> None:
    """`vectors.npy`, some rows at a time."""

    def write(file: BinaryIO) -> None:
        shape = {"shape": (count, spec.width), "fortran_order": False, "descr": npy.dtype_to_descr(np.dtype(spec.dtype))}
        npy.write_array_header_1_0(file, shape)
        for start in range(0, count, _ROWS):
            file.write(drawn(spec, min(_ROWS, count - start), rng).data)

    write_atomic(path, write)


def images(count: int) -> pa.Table:
    """As `images.parquet` has them; names as long as those of a folder of PNG files."""
    names = [f"{row // 1000:04d}/image_{row:08d}.png" for row in range(count)]
    return pa.table(
        {
            "row": pa.array(range(count), pa.int64()),
            "path": names,
            "frame": pa.array([0] * count, pa.int32()),
            "name": names,
            "mode": ["L"] * count,
            "patient": pa.nulls(count, pa.string()),
            "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in names],
            "blank": pa.array([[]] * count, pa.list_(pa.string())),
        }
    )


# Memory


def compare_stored(folder: Path) -> dict[str, float]:
    """In this process: compare the collections of a folder, and let methods predict."""
    from query.comparison.comparison import compare
    from query.membership.predict import PredictionRequest, case_of, chosen, predict_requested
    from query.membership.proximity import planned

    started = time.perf_counter()

    def read(row: int) -> GreyImage:  # there are no files
        return np.full((8, 8), row % 256, np.uint8)

    real = images_of(Collection(folder / "real"), read)
    sides = Sides(real, images_of(Collection(folder / "generated"), read))
    labels = {row: row % 2 == 0 for row in range(len(real)) if row // _PATIENT % 2}
    before = status("RssAnon")
    with watched() as anonymous:
        case = case_of(sides, labels, np.arange(len(real)) // _PATIENT)
        methods = chosen((), {}, case)
        measures = planned(case, methods)
        comparison = compare(sides, also=measures.reductions)
        case.memory.update(measures.results())
        predictions = predict_requested(case, methods, PredictionRequest())
    pairs = len(real) * len(sides.generated)
    if any(each.histogram.counts.sum() != pairs for each in comparison.views.values()) or len(predictions.methods) < 5:
        raise SystemExit("pairs were lost, or a method did not predict")
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "before": before, "anonymous": anonymous[0], "peak": status("VmHWM")}


def child(*arguments: str | Path) -> str:
    """What this script prints in a process of its own."""
    made = subprocess.run([sys.executable, __file__, *map(str, arguments)], capture_output=True, text=True, check=False)
    if made.returncode:
        raise SystemExit(made.stderr)
    return made.stdout


def measured(real: int, generated: int) -> dict[str, float]:
    """The figures for so many images, each step in a process of its own."""
    with temporary_folder() as folder:
        child("--write", folder, "--real", str(real), "--generated", str(generated))
        figures: dict[str, float] = json.loads(child("--compare", folder))
    print(
        f"{real:,} real x {generated:,} generated images, {len(VIEWS)} views and the combined one: "
        f"{figures['anonymous'] / 1e9:.2f} GB ({figures['before'] / 1e9:.2f} GB before), "
        f"{figures['peak'] / 1e9:.2f} GB with mapped files, {figures['seconds']:.0f} s",
        flush=True,
    )
    return {"real": real, "generated": generated, "limit": LIMIT, **figures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=int, default=200)
    parser.add_argument("--generated", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--json", type=Path, help="write what was measured there")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--compare", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write:
        for seed, (side, count) in enumerate({"real": asked.real, "generated": asked.generated[0]}.items()):
            write_collection(asked.write / side, count, seed)
        return 0
    if asked.compare:
        print(json.dumps(compare_stored(asked.compare)))
        return 0
    runs = [measured(asked.real, count) for count in asked.generated]
    if asked.json:
        write_results(asked.json, runs)
    return int(any(run["anonymous"] > LIMIT for run in runs))


if __name__ == "__main__":
    sys.exit(main())
