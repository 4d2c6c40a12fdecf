#!/usr/bin/env python3
"""Measure memory and time of comparing all pairs, with generated images that are drawn shard by shard and never stored.

Four views as an index has them by default: 256 bits, and three times 256 floats. A child process compares; its peak of resident
memory (VmHWM) is what counts. Only results that each generated image has of its own grow with their number: --of-generated
neighbours of 8 bytes in each view and the combined one, and moments. --measures adds what membership scores are made of, of every
view: contest, occurrences, explanations and attributions.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from result_file import write_results

from embeddings.types import EmbeddingSpec, Metric
from query.comparison.all_pairs import Wanted, all_pairs
from query.comparison.reductions.sides import GeneratedVectors, RealVectors, Shard
from query.membership.proximity import Kind, Measure, Measures

DIMENSIONS = 256
VIEWS = {
    "phash": EmbeddingSpec("phash", DIMENSIONS, Metric.HAMMING),
    **{view: EmbeddingSpec(view, DIMENSIONS, Metric.COSINE) for view in ("resnet", "pixels", "sift")},
}
LIMIT = 2 << 30  # bytes, for 200 real images against 1,000,000 generated ones


def drawn(spec: EmbeddingSpec, count: int, rng: np.random.Generator) -> NDArray[np.generic]:
    """Vectors at random."""
    if spec.metric is Metric.HAMMING:
        return rng.integers(0, 256, (count, DIMENSIONS // 8), dtype=np.uint8)
    vectors = rng.standard_normal((count, DIMENSIONS), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def shards(count: int, size: int) -> Iterator[Shard]:
    """The generated side, the same each time."""
    for start in range(0, count, size):
        rng, width = np.random.default_rng(1 + start), min(size, count - start)
        blank = np.zeros(width, bool)
        yield Shard(start, {name: GeneratedVectors(drawn(spec, width, rng), blank) for name, spec in VIEWS.items()})


def compare(asked: argparse.Namespace) -> dict[str, float]:
    """In this process: seconds, the peak of its memory before and after, in bytes."""
    rng, started = np.random.default_rng(0), time.perf_counter()
    blank = np.zeros(asked.real, bool)
    reals = {name: RealVectors(spec, drawn(spec, asked.real, rng), None, blank) for name, spec in VIEWS.items()}
    kinds = [Measure(view, kind, 10) for view in VIEWS for kind in Kind if kind is not Kind.NEAREST] if asked.measures else []
    measures = Measures(reals, np.arange(asked.real), kinds)
    before = peak()
    wanted = Wanted(asked.k, asked.of_generated, list(VIEWS))
    pairs = all_pairs(reals, lambda: shards(asked.generated, asked.shard), wanted, measures.reductions)
    measures.results()
    total = asked.real * asked.generated
    if any(each.counts.sum() != total for each in pairs.histograms.values()):
        raise SystemExit("pairs were lost")
    return {"seconds": time.perf_counter() - started, "before": before, "peak": peak()}


def peak() -> int:
    """Largest resident memory of this process so far, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=int, default=200)
    parser.add_argument("--generated", type=int, default=1_000_000)
    parser.add_argument("--shard", type=int, default=10_000, help="generated images at a time")
    parser.add_argument("--k", type=int, default=50, help="neighbours of each real image")
    parser.add_argument("--of-generated", type=int, default=10, help="neighbours of each generated image")
    parser.add_argument("--measures", action="store_true", help="with what membership scores are made of")
    parser.add_argument("--json", type=Path, help="write what was measured there")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(compare(asked)))
        return 0
    child = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--child"], capture_output=True, text=True, check=False)
    if child.returncode:
        print(child.stderr, file=sys.stderr)
        return 1
    measured = json.loads(child.stdout)
    print(
        f"{asked.real:,} real x {asked.generated:,} generated images, {len(VIEWS)} views and the combined one: "
        f"peak {measured['peak'] / 1e9:.2f} GB ({measured['before'] / 1e9:.2f} GB before), {measured['seconds']:.0f} s"
    )
    if asked.json:
        write_results(asked.json, measured)
    return int(measured["peak"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
