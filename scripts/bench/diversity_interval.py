#!/usr/bin/env python3
"""Measure how often the intervals of `query.duplication.diversity` hold what sets of that size have.

    bench/diversity_interval.py [--sets 200] [--truth 600] [--seed 0] [--json FILE]

Sets are drawn from mixtures of normal distributions in 24 dimensions: a mode at random for each patient, what the images of a
patient have in common around it, each image around that. The truth is the mean over independent sets of half as many images.
Printed are the share of intervals of 95% that hold it, and the mean estimate over the truth. Exit codes: 0 done, 2 bad input.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from common.command import Parser, run
from numpy.typing import NDArray
from result_file import write_results

from embeddings.types import EmbeddingSpec, Metric
from query.duplication.diversity import Figure, Vectors, diversity, subsample_size, vendi

WIDTH = 24
SETS = ((200, 1, 20), (200, 1, 5), (60, 1, 20), (200, 5, 20), (100, 10, 20))  # images, images of a patient, modes


def drawn(
    rng: np.random.Generator, modes: NDArray[np.float64], count: int, each: int
) -> tuple[dict[str, Vectors], NDArray[np.str_]]:
    """A view of the images, and their patients."""
    patients = count // each
    shared = modes[rng.integers(len(modes), size=patients)] + 0.6 * rng.normal(size=(patients, WIDTH))
    values = np.repeat(shared, each, axis=0) + 0.3 * rng.normal(size=(patients * each, WIDTH))
    vectors = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    seen = Vectors(EmbeddingSpec("v", WIDTH, Metric.COSINE), vectors, np.ones(count, bool))
    return {"v": seen}, np.repeat([f"p{number}" if each > 1 else "" for number in range(patients)], each)


def figures_of(vectors: NDArray[np.float32]) -> dict[Figure, float]:
    """By definition."""
    distances = 1 - vectors @ vectors.T
    np.fill_diagonal(distances, np.inf)
    return {Figure.VENDI: vendi(vectors), Figure.NEAREST: float(distances.min(axis=1).mean())}


def measured(case: tuple[int, int, int], options: argparse.Namespace) -> dict[str, Any]:
    """Share of intervals that hold the truth, and bias, for each figure."""
    count, each, number = case
    rng = np.random.default_rng(options.seed)
    modes, size = rng.normal(size=(number, WIDTH)), subsample_size(count)
    halves = [figures_of(drawn(rng, modes, count, each)[0]["v"].values[:size]) for _ in range(options.truth)]
    found = [diversity(*drawn(rng, modes, count, each), np.full(count, -1), size) for _ in range(options.sets)]
    report = {}
    for figure in (Figure.VENDI, Figure.NEAREST):
        truth = float(np.mean([half[figure] for half in halves]))
        estimates = [one.estimate for of_set in found for one in of_set if one.figure is figure]
        held = float(np.mean([one.low <= truth <= one.high for one in estimates]))
        report[str(figure)] = {"held": held, "of truth": float(np.mean([one.value for one in estimates])) / truth}
    return report


def main() -> int:
    """Measure every kind of set."""
    parser = Parser(prog="diversity_interval.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("sets", 200), ("truth", 600), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report = {}
    for case in SETS:
        name = "{} images, {} of a patient, {} modes".format(*case)
        report[name] = measured(case, options)
        print(f"{name}: {report[name]}")
    if options.json:
        write_results(options.json, report)
    return 0


if __name__ == "__main__":
    run(Path(sys.argv[0]).name, main)
