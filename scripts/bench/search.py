#!/usr/bin/env python3
"""Measure exact search against a plain implementation and against the processor's peak.

All figures come from one run, the things compared take turns, and each figure is a median over the turns.

Small collections
    Queries against some thousand vectors of each kind: packed codes (Hamming) and unit vectors (cosine), by
    `indexer.search.faiss_index` and by a loop over queries in NumPy. Distances must be equal, else the exit code is 1.

Large collections
    Queries against many 256-bit codes, against these limits:
    popcount      rate at which all cores together count differing bits while queries, codes and results stay in the
                  cache and nothing is selected: FAISS's `hammings`, the fastest loop that comes with the packages needed
                  anyway. It uses vector popcounts where the processor has them (AVX-512 VPOPCNTDQ). Reading codes from memory
                  and keeping the k nearest come on top of it, so that 100% cannot be reached.
    popcount, scalar   the same with the 64-bit POPCNT instruction only; shown where vector popcounts can be switched off.
    memory        reading all codes once; FAISS reads them once for all queries.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from result_file import write_results

from embeddings.pipeline import workers
from embeddings.types import EmbeddingSpec, Metric
from indexer.search.brute_force import nothing_found
from indexer.search.faiss_index import build, search
from indexer.types import IndexSpec

DIM = 256  # bits and components, as the views have by default
BLOCK = (50, 1024)  # queries and codes whose distances stay in the cache


def vectors_of(metric: Metric, count: int, rng: np.random.Generator) -> NDArray[Any]:
    """Random codes (count, 32) uint8, or unit vectors (count, 256) float32."""
    if metric is Metric.HAMMING:
        return rng.integers(0, 256, (count, DIM // 8), np.uint8)
    vectors = rng.standard_normal((count, DIM), np.float32)
    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def plain_search(metric: Metric, queries: NDArray[Any], vectors: NDArray[Any], k: int) -> NDArray[Any]:
    """Distances (nq, k) of the nearest, query by query."""
    if metric is Metric.HAMMING:
        bits = np.unpackbits(vectors, axis=1)
        return np.array([np.sort(np.count_nonzero(bits != np.unpackbits(q), axis=1))[:k] for q in queries])
    return np.array([np.sort(1 - vectors @ q)[:k] for q in queries])


def take_turns(work: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, NDArray[np.float64]]:
    """Seconds of each piece of work, (repeats,), after one unmeasured turn."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 1):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def count_bits(pairs: int) -> None:
    """Hamming distances of so many pairs of codes, on all cores, each core on a block of its own in its cache."""
    blocks = -(-pairs // (BLOCK[0] * BLOCK[1] * workers()))

    def work(seed: int) -> None:
        faiss.omp_set_num_threads(1)  # of this thread
        queries, codes = (vectors_of(Metric.HAMMING, count, np.random.default_rng(seed)) for count in BLOCK)
        out = np.empty(BLOCK, np.int32)
        where = [faiss.swig_ptr(array) for array in (queries, codes, out)]
        for _ in range(blocks):
            faiss.hammings(where[0], where[1], *BLOCK, DIM // 8, where[2])  # type: ignore[attr-defined]  # SWIG makes it

    with ThreadPoolExecutor(workers()) as pool:
        list(pool.map(work, range(workers())))


@contextmanager
def scalar_popcount() -> Iterator[None]:
    """FAISS without vector popcounts; `has_vector_popcount` says whether there are any."""
    before = faiss.SIMDConfig.get_level()
    faiss.SIMDConfig.set_level(faiss.SIMDLevel_AVX2)
    try:
        yield
    finally:
        faiss.SIMDConfig.set_level(before)


def has_vector_popcount() -> bool:
    """Whether FAISS counts bits by vector instructions here and can do without."""
    config = getattr(faiss, "SIMDConfig", None)
    return config is not None and config.get_level_name() in ("AVX512_VPOPCNT", "AVX512_SPR")


def count_bits_scalar(pairs: int) -> None:
    """`count_bits` with the scalar instruction."""
    with scalar_popcount():
        count_bits(pairs)


def small(metric: Metric, options: argparse.Namespace) -> dict[str, Any]:
    """One line on a small collection; its figures, and whether its distances are those of the plain way."""
    rng = np.random.default_rng(options.seed)
    vectors, queries = vectors_of(metric, options.small, rng), vectors_of(metric, options.queries, rng)
    index = build(EmbeddingSpec("bench", DIM, metric), vectors, IndexSpec())
    ours = search(index, metric, queries, options.k).distances
    plain = np.full_like(nothing_found(metric, ours.shape), nothing_found(metric, (1, 1))[0, 0])
    found = plain_search(metric, queries, vectors, options.k)
    plain[:, : found.shape[1]] = found
    equal = bool(np.allclose(ours, plain, atol=0 if metric is Metric.HAMMING else 1e-5))
    seconds = take_turns(
        {
            "search": lambda: search(index, metric, queries, options.k),
            "plain": lambda: plain_search(metric, queries, vectors, options.k),
        },
        options.repeats,
    )
    times = np.median(seconds["plain"] / seconds["search"])
    print(f"{metric}, {options.queries} queries on {options.small:,}: {shown(seconds['search'])}; ", end="")
    print(f"plain way {shown(seconds['plain'])}, {times:.0f} times as long; distances {'equal' if equal else 'DIFFER'}")
    return {"vectors": options.small, "ms": medians(seconds), "times as long": round(float(times), 1), "equal": equal}


def large(options: argparse.Namespace) -> dict[str, Any]:
    """Search of many codes against the limits; its figures."""
    rng = np.random.default_rng(options.seed)
    codes, queries = (vectors_of(Metric.HAMMING, n, rng) for n in (options.codes, options.queries))
    index = build(EmbeddingSpec("bench", DIM, Metric.HAMMING), codes, IndexSpec())
    pairs = options.codes * options.queries
    work: dict[str, Callable[[], Any]] = {
        "search": lambda: search(index, Metric.HAMMING, queries, options.k),
        "popcount": lambda: count_bits(pairs),
        "memory": lambda: codes.view(np.uint64).max(),
    }
    if has_vector_popcount():
        work["popcount, scalar"] = lambda: count_bits_scalar(pairs)
    seconds = take_turns(work, options.repeats)
    rate = pairs / np.median(seconds["search"]) / 1e9
    print(f"hamming, {options.queries} queries on {options.codes:,}: {shown(seconds['search'])}, {rate:.2f} billion codes/s")
    for name in sorted(set(work) - {"search"}):
        share = np.median(seconds[name] / seconds["search"])
        print(f"  limit, {name}: {shown(seconds[name])}; the search reaches {share:.0%} of it")
    return {"codes": options.codes, "ms": medians(seconds), "billion codes/s": round(float(rate), 3)}


def medians(seconds: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """In ms."""
    return {name: round(float(np.median(values)) * 1000, 4) for name, values in seconds.items()}


def shown(seconds: NDArray[np.float64]) -> str:
    """Median and range in ms."""
    low, middle, high = np.quantile(seconds * 1000, (0, 0.5, 1))
    return f"{middle:.3g} ms ({low:.3g} to {high:.3g})"


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be positive, got {number}")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=positive, default=10_000, metavar="N", help="vectors of the small collections")
    parser.add_argument("--codes", type=positive, default=1_000_000, metavar="N", help="codes of the large one")
    parser.add_argument("--queries", type=positive, default=200, metavar="N")
    parser.add_argument("-k", type=positive, default=10, help="neighbours of each query")
    parser.add_argument("--repeats", type=positive, default=9, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too, with commit and machine")
    options = parser.parse_args()
    print(f"{workers()} cores, load before {os.getloadavg()[0]:.2f}, k = {options.k}, medians of {options.repeats} (range)")
    figures: dict[str, Any] = {str(metric): small(metric, options) for metric in Metric}
    equal = all(figures[metric]["equal"] for metric in Metric)
    figures["large"] = large(options)
    if options.json:
        write_results(options.json, figures)
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
