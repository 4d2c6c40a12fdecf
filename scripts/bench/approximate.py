#!/usr/bin/env python3
"""Measure approximate indexes beside exact search: recall, time to build, queries a second.

Vectors are made as `common.grown` says from those of some images: given ones, or else procedural slices; codes by view `phash`,
unit vectors by view `resnet`. Queries are made in the same way and are not in the index. For each number of vectors the exact
index and each approximate one are built as `synthtrace index --factory` builds them and asked in turns.

recall   share of the 10 exact nearest that are found; one as near as the tenth counts, whichever of equal ones it is.
pays     after how many queries the time to build is won back by quicker search.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common.command import Parser, run
from common.grown import grown_codes, grown_vectors
from numpy.typing import NDArray
from result_file import write_results

from embeddings.files.temporary import temporary_folder
from embeddings.pipeline import workers
from embeddings.types import EmbeddingSpec, Metric
from indexer.build import build
from indexer.search import brute_force, faiss_index
from indexer.types import IndexSpec, Neighbours
from query.benchmarks.benchmark import BenchmarkSettings, write_benchmark

EXACT = {Metric.HAMMING: "BFlat", Metric.COSINE: "Flat"}
VIEW = {Metric.HAMMING: "phash", Metric.COSINE: "resnet"}
K = 10

Vectors = NDArray[Any]


def seeds_of(folder: Path | None, images: int) -> dict[Metric, Vectors]:
    """Vectors of the images of a folder, or of so many procedural slices."""
    with temporary_folder() as name:
        scratch = Path(name)
        if folder is None:
            write_benchmark(scratch / "made", BenchmarkSettings(generated=images))
        settings = build.Settings(views={view: {} for view in VIEW.values()})
        made = build.build(scratch / "collection", folder or scratch / "made" / "generated", settings=settings, device="cpu")
        return {metric: np.array(made.vectors(view)) for metric, view in VIEW.items()}


def measured(metric: Metric, stored: Vectors, queries: Vectors, factories: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """A line for each index, the exact one first; its figures."""
    spec = EmbeddingSpec("bench", 8 * stored.shape[1] if metric is Metric.HAMMING else stored.shape[1], metric)
    indexes, seconds = {}, {}
    for factory in (EXACT[metric], *factories):
        how = IndexSpec(binary_factory=factory) if metric is Metric.HAMMING else IndexSpec(factory=factory)
        start = time.perf_counter()
        indexes[factory] = faiss_index.build(spec, stored, how)
        seconds[factory] = time.perf_counter() - start
    turns: dict[str, list[float]] = {factory: [] for factory in indexes}
    found: dict[str, Neighbours] = {}
    for _ in range(repeats):
        for factory, index in indexes.items():
            start = time.perf_counter()
            found[factory] = faiss_index.search(index, metric, queries, K)
            turns[factory].append((time.perf_counter() - start) / len(queries))
    each = {factory: float(np.median(times)) for factory, times in turns.items()}
    truth = found[EXACT[metric]]
    rows = []
    for factory in indexes:
        won = each[EXACT[metric]] - each[factory]
        figures = {
            "factory": factory, "vectors": len(stored), "build seconds": round(seconds[factory], 1),
            "queries/s": round(1 / each[factory]), "recall": round(recall(metric, found[factory], truth, stored, queries), 4),
            "pays after queries": round((seconds[factory] - seconds[EXACT[metric]]) / won) if won > 0 else None,
        }  # fmt: skip
        print(f"{metric}: " + ", ".join(f"{name} {value}" for name, value in figures.items()), flush=True)
        rows.append(figures)
    return rows


def recall(metric: Metric, found: Neighbours, truth: Neighbours, stored: Vectors, queries: Vectors) -> float:
    """Share of the nearest that were found; distances are computed again, since an index may only estimate them."""
    hits = 0
    for query, rows, limit in zip(queries, found.rows, truth.distances[:, -1], strict=True):
        near = brute_force.distances(metric, query[None], stored[rows[rows >= 0]])[0]
        hits += int(np.count_nonzero(near <= limit + brute_force.ROUNDING))
    return hits / truth.rows.size


def main() -> int:
    parser = Parser(prog="bench/approximate.py", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", metavar="IMAGES", help="a folder of images; default: procedural slices")
    parser.add_argument("--images", type=int, default=2000, metavar="N", help="procedural slices; default: %(default)s")
    parser.add_argument("--codes", type=int, nargs="*", default=[100_000, 1_000_000], metavar="N")
    parser.add_argument("--vectors", type=int, nargs="*", default=[100_000, 1_000_000], metavar="N")
    parser.add_argument("--binary-factory", nargs="*", default=["BIVF256;nprobe=16"])
    parser.add_argument("--factory", nargs="*", default=["IVF256,Flat;nprobe=16"])
    parser.add_argument("--queries", type=int, default=200, metavar="N")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too, with commit and machine")
    asked = parser.parse_args()
    seeds = seeds_of(asked.folder, asked.images)
    print(f"{workers()} cores, {len(seeds[Metric.HAMMING])} images, {asked.queries} queries, k = {K}", flush=True)
    figures: dict[str, list[dict[str, Any]]] = {str(metric): [] for metric in Metric}
    for metric, counts, factories, grow in (
        (Metric.HAMMING, asked.codes, asked.binary_factory, grown_codes),
        (Metric.COSINE, asked.vectors, asked.factory, grown_vectors),
    ):
        for count in counts:
            stored, queries = (
                grow(seeds[metric], n, np.random.default_rng(seed)) for seed, n in enumerate((count, asked.queries))
            )
            figures[str(metric)] += measured(metric, stored, queries, factories, asked.repeats)
    if asked.json:
        write_results(asked.json, figures)
    return 0


if __name__ == "__main__":
    run("bench/approximate.py", main)
