#!/usr/bin/env python3
"""Measure searches as `serve` makes them over a collection in shards of drawn vectors: seconds and memory.

Views are fitted on drawn slices. Vectors of the shards are drawn, in all views of an index by default; indexes are left out: a
search in several views reads vectors. Searches are uploads of further slices, handed in one after the other, then several at
once, without HTTP (scripts/bench/service.py measures that). The first one opens what later ones use again and does not count.
Memory is the largest RssAnon, which leaves out mapped files (Linux).
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common.command import Parser, run
from common.drawn import drawn, status, watched
from result_file import write_results

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import create, make_folder
from embeddings.phantoms.slices import phantom
from embeddings.pipeline import one_thread_each, workers
from indexer.build.build import Settings
from indexer.collection import IMAGES, Collection, view_files
from indexer.files import sha256_of
from indexer.manifest import NAME as MANIFEST
from indexer.sharded.build import Sharding, index_shards
from indexer.sharded.joined import Joined
from indexer.sharded.manifest import FITTED, Shard, ShardedManifest
from query.service.backend.searching import Searching

SAMPLE = 80  # slices that views are fitted on: enough to whiten
TOGETHER = 8  # searches at once
K = 5  # hits for each view


def make(folder: Path, shards: int, images: int, settings: Settings | None = None) -> Joined:
    """A collection of so many shards of so many drawn images each."""
    make_folder(folder / "slices")
    for number in range(SAMPLE):
        with create(folder / "slices" / f"{number:03d}.png") as file:
            file.write(upload(number))
    small = index_shards(folder / "slices", folder / "shards", settings=settings, sharding=Sharding(SAMPLE, device="cpu"))
    known = [draw_shard(folder / "shards", number, images, small.fitted) for number in range(shards)]
    fitted = sha256_of(folder / "shards" / FITTED / MANIFEST)
    ShardedManifest(**small.manifest.provenance, size=images, fitted=fitted, shards=tuple(known)).write(folder / "shards")
    return Joined(type(small)(folder / "shards"))


def upload(number: int) -> bytes:
    """A slice as a PNG file."""
    import cv2

    return bytes(cv2.imencode(".png", phantom(number))[1].tobytes())


def draw_shard(folder: Path, number: int, images: int, fitted: Collection) -> Shard:
    """A shard of drawn vectors, in the place of what is there."""
    name, rng, files = f"shard-{number:05d}", np.random.default_rng([3, number]), {}
    for view in fitted.views:
        path = folder / name / view_files(view)["vectors"]
        make_folder(path.parent)
        path.unlink(missing_ok=True)
        with create(path) as file:
            np.save(file, drawn(fitted.spec(view), images, rng))
        files[view_files(view)["vectors"]] = sha256_of(path)
    names = [f"batch-{number:05d}/generated-{row:08d}.png" for row in range(images)]
    said: dict[str, Sequence[Any]] = {"row": range(images), "path": names, "name": names, "frame": [0] * images}
    said |= {"sha256": [rng.bytes(32).hex() for _ in names], "status": ["ok"] * images, "blank": [[]] * images}
    schema = fitted.table.schema
    columns = [pa.array(said[f.name], f.type) if f.name in said else pa.nulls(images, f.type) for f in schema]
    (folder / name / IMAGES).unlink(missing_ok=True)
    with create(folder / name / IMAGES) as file:
        pq.write_table(pa.table(columns, schema=schema), file)
    files[IMAGES] = sha256_of(folder / name / IMAGES)
    replace(fitted.manifest, images=images, failed=0, files=files).write(folder / name)
    return Shard(name, (names[0], 0), images, 0, sha256_of(folder / name / MANIFEST))


def measure(collection: Joined, searches: int) -> dict[str, Any]:
    """Seconds of each search, of each of several at once, and memory."""
    bodies = [upload(1000 + number) for number in range(searches)]
    with closing(Searching(collection)) as searching, one_thread_each(), ThreadPoolExecutor(TOGETHER) as pool:
        search = partial(searched, searching)
        searching.warm()
        before = status("RssAnon")
        with watched() as largest:
            alone = [search(body) for body in bodies]
            started = time.perf_counter()
            list(pool.map(search, bodies[:1] * TOGETHER))
            together = (time.perf_counter() - started) / TOGETHER
    named, shards = ", ".join(collection.views), len(collection.parts)
    print(f"{named}: {len(collection):,} images in {shards} shards on {workers()} cores")
    print(
        f"  a search {np.median(alone):.2f} s ({min(alone):.2f} to {max(alone):.2f}), of {TOGETHER} at once {together:.2f} s each"
    )
    print(f"  RssAnon at most {largest[0] / 1e9:.2f} GB, before {before / 1e9:.2f} GB", flush=True)
    about = {"views": list(collection.views), "shards": shards, "images": len(collection)}
    return {**about, "alone": alone, "together": together, "before": before, "anonymous": largest[0]}


def searched(searching: Searching, body: bytes) -> float:
    """Seconds until the hits of an upload are there."""
    started = time.perf_counter()
    with searching.batches.coming() as coming:
        hits = searching.look(body, K, False, coming).hits
    if not hits.result():
        raise SystemExit("nothing was found")
    return time.perf_counter() - started


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--images", type=int, default=2000, help="of each shard; default: %(default)s")
    parser.add_argument("--searches", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="write what was measured there")
    asked = parser.parse_args()
    if min(asked.shards, asked.images, asked.searches) < 1:
        parser.error("--shards, --images and --searches must be positive")
    with temporary_folder() as folder:
        figures = measure(make(folder, asked.shards, asked.images), asked.searches)
    if asked.json:
        write_results(asked.json, figures)
    else:
        print(json.dumps(figures)[:2000])


if __name__ == "__main__":
    run(Path(sys.argv[0]).name, main)
