#!/usr/bin/env python3
"""Measure how a run of many drawn generated images is recorded: in tables of the database, and in Parquet files that it reads.

Of each generated image the rows of an audit are drawn: name and hash, a code of 256 bits, its 10 nearest of 200 real images in
four views and the combined one, and 4 scores in each. Each way has a process of its own. Seconds and largest memory of writing;
bytes; seconds of named analyses and of a look-up of one image, the second time each is asked, in a store that only reads.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from common.command import Parser, run
from common.drawn import watched
from numpy.typing import NDArray
from result_file import write_results

from embeddings.files.temporary import temporary_folder
from query.database.store import Kept, Rows, Run, RunView, Store, code_words

REALS, K, BLOCK = 200, 10, 100_000
VIEWS = ("phash", "resnet", "pixels", "sift", "combined")
SCORES = ("d1", "mean_k", "d1_d2", "nearest_count")
ANALYSES = ("most-copied", "agreement")
LOOK_UP = "SELECT * FROM neighbours WHERE run_id = 1 AND query_role = 'generated' AND query_id = $id ORDER BY view, rank"
SETTINGS = {"memory_limit": "4GB", "threads": "2"}


def rows_of(images: int) -> Iterator[Rows]:
    """What a run of so many generated images and 200 real ones adds to tables, images first, then view by view."""
    rng = np.random.default_rng(0)
    for role, first, count in (("generated", 0, images), ("real", images, REALS)):
        for start in range(0, count, BLOCK):
            ids = np.arange(start, min(start + BLOCK, count))
            yield "images", _images(role, ids, first, rng)
            words = code_words(rng.integers(0, 256, (len(ids), 32), np.uint8))
            yield "codes", {"image_id": ids + first, "view": _same("phash", len(ids)), "words": words}
    for view in VIEWS:
        for role, first, count, other, others in (("generated", 0, images, images, REALS), ("real", images, REALS, 0, images)):
            for start in range(0, count, BLOCK):
                ids = np.arange(start, min(start + BLOCK, count))
                yield "neighbours", _neighbours(view, role, ids + first, (other, others), rng)
        for score in SCORES:
            for start in range(0, images, 10 * BLOCK):
                ids = np.arange(start, min(start + 10 * BLOCK, images))
                names = {"view": _same(view, len(ids)), "score": _same(score, len(ids))}
                yield "scores", {"image_id": ids, **names, "value": rng.normal(size=len(ids))}


def _images(role: str, ids: NDArray[np.int64], first: int, rng: np.random.Generator) -> dict[str, Any]:
    count, digests = len(ids), rng.bytes(32 * len(ids)).hex()
    names = [f"batch-{row // 10_000:04}/{role}-{row:08}.png" for row in ids.tolist()]
    sizes = {"width": np.full(count, 256), "height": np.full(count, 256), "bytes": rng.integers(30_000, 50_000, count)}
    texts = {"role": _same(role, count), "mode": _same("L", count), "path": names, "name": names}
    return {"image_id": ids + first, **texts, **sizes, "sha256": [digests[at : at + 64] for at in range(0, 64 * count, 64)]}


def _neighbours(view: str, role: str, ids: NDArray[np.int64], other: tuple[int, int], rng: np.random.Generator) -> dict[str, Any]:
    """Drawn images of the other side (first id, number), their distances rising; whole numbers in view phash."""
    first, count = other
    near = first + (rng.integers(0, count, (len(ids), 1)) + np.arange(K) * 7) % count
    distances = np.sort(rng.normal(110, 8, near.shape) if view == "phash" else rng.normal(0.7, 0.05, near.shape), axis=1)
    rank = np.tile(np.arange(1, K + 1, dtype=np.int32), len(ids))
    found = {"neighbour_id": near.ravel(), "distance": np.round(distances).ravel() if view == "phash" else distances.ravel()}
    texts = {"query_role": _same(role, near.size), "view": _same(view, near.size)}
    return {"query_id": np.repeat(ids, K), **texts, "rank": rank, **found, "mirrored": np.zeros(near.size, bool)}


def _same(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), count)


def measured(folder: Path, images: int, parquet_above: int) -> dict[str, Any]:
    """Write the run, and ask; in this process."""
    database = folder / "results.duckdb"
    started, processor = time.perf_counter(), time.process_time()
    with watched() as anonymous, Store.open(database, settings=SETTINGS, parquet_above=parquet_above) as store:
        about = Run("compare", 50, False, "real", "generated", REALS, images, distances=Kept.HISTOGRAM)
        number = store.begin_run(about, [RunView(view, 256, "cosine", view) for view in VIEWS])
        for table, rows in rows_of(images):
            store.add(table, rows)
        added, anonymous_adding = time.perf_counter() - started, anonymous[0]
        store.finish_run(number)
    seconds = {"adding": added, "all": time.perf_counter() - started, "of_processor": time.process_time() - processor}
    files = [path for path in folder.rglob("*") if path.suffix in (".duckdb", ".parquet")]
    with Store.open(database, read_only=True, settings=SETTINGS) as store:
        asked = {name: _seconds(store, name) for name in ANALYSES}
        asked["look-up of one image"] = _seconds(store, "", images // 2)
    return {
        "writing": seconds,
        "anonymous_adding": anonymous_adding,
        "anonymous": anonymous[0],
        "bytes_of_database": database.stat().st_size,
        "bytes": sum(path.stat().st_size for path in files),
        "files": len(files),
        "asking": asked,
    }


def _seconds(store: Store, analysis: str, image: int = 0) -> float:
    for _ in range(2):
        started = time.perf_counter()
        rows = len(store.analyse(analysis)) if analysis else len(store.sql(LOOK_UP, {"id": image}))
    if not rows:
        raise SystemExit(f"{analysis or 'the look-up'} finds nothing")
    return time.perf_counter() - started


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000, help="generated images  [default: %(default)s]")
    parser.add_argument("--work", type=Path, help="folder for the databases, which are deleted  [default: a temporary one]")
    parser.add_argument("--one", choices=["tables", "parquet"], help="only this way, in this process, in --work; prints JSON")
    parser.add_argument("--json", type=Path, help="write what was measured there")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.work, asked.images, 0 if asked.one == "parquet" else asked.images)))
        return
    figures: dict[str, Any] = {"images": asked.images, "real": REALS, "settings": SETTINGS}
    for way in ("tables", "parquet"):
        with temporary_folder(asked.work) as folder:
            command = [sys.executable, __file__, "--one", way, "--work", str(folder), "--images", str(asked.images)]
            figures[way] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        one = figures[way]
        print(
            f"{way}: written in {one['writing']['all']:.0f} s ({one['writing']['of_processor']:.0f} s of the processor), "
            f"{one['anonymous_adding'] / 1e9:.2f} GB of memory, with checks {one['anonymous'] / 1e9:.2f} GB, "
            f"{one['bytes'] / 1e6:,.0f} MB in {one['files']} files, asked in "
            + ", ".join(f"{seconds:.2f} s ({name})" for name, seconds in one["asking"].items()),
            flush=True,
        )
    if asked.json:
        write_results(asked.json, figures)


if __name__ == "__main__":
    run(Path(sys.argv[0]).name, main)
