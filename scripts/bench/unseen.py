#!/usr/bin/env python3
"""Measure how often a source is found by kind of distortion: kinds that the bundled network was trained on apart from the others.

    bench/unseen.py BENCHMARK... [--work DIR] [--json FILE]

A BENCHMARK is a folder of `make_benchmark.py --kinds all,unseen`. Prints for each the share of generated images whose nearest
real image is a source of theirs, by view, kind and strength of warp, with 95% intervals from resampling whole groups of real
images. First the means over kinds, each kind counting alike: `seen` (warps of strength 1 to 3, as every kind is warped; no eigen,
which has no source) and `never seen`.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from common.command import Parser, run
from numpy.typing import NDArray
from result_file import write_results
from sources import Cell, Truth, cell, first_right, search_benchmark

from embeddings.files.temporary import temporary_folder
from query.benchmarks.benchmark import Kind
from query.benchmarks.unseen import Unseen
from query.comparison.search import ViewResult
from query.evaluation.resampling import grouped_interval, grouped_proportion

HEAVY = 4  # strengths of a warp from here on are those of no other kind
MEANS = {"seen": tuple(Kind), "never seen": tuple(Unseen)}


def mean_over_kinds(right: NDArray[np.bool_], kinds: NDArray[np.str_], groups: NDArray[np.str_]) -> Cell:
    """The mean over kinds of their shares of right ones. Kinds that a resample lacks do not count in it."""
    names, number = np.unique(kinds, return_inverse=True)

    def mean(rows: NDArray[np.int64]) -> float:
        count = np.bincount(number[rows], minlength=len(names))
        hits = np.bincount(number[rows], right[rows], len(names))
        return float((hits[count > 0] / count[count > 0]).mean())

    return cell(grouped_interval(mean, groups))


def table(truth: Truth, found: Mapping[str, ViewResult]) -> dict[str, dict[str, Cell]]:
    """Row -> view -> share of right first hits."""
    alike = truth.visible & ~((truth.kind == Kind.WARP) & (truth.strength >= HEAVY))
    made: dict[str, dict[str, Cell]] = {}
    for view, result in found.items():
        right = first_right(truth, result)
        for name, kinds in MEANS.items():
            rows = alike & np.isin(truth.kind, kinds)
            if rows.any():
                made.setdefault(name, {})[view] = mean_over_kinds(right[rows], truth.kind[rows], truth.groups[rows])
        for name, rows in truth.rows():
            made.setdefault(name, {})[view] = cell(grouped_proportion(right[rows], truth.groups[rows]))
    return made


def told(made: dict[str, dict[str, Cell]]) -> str:
    """The table in Markdown."""
    views = list(next(iter(made.values())))
    lines = [f"| | {' | '.join(f'`{view}`' for view in views)} |", "|---" * (len(views) + 1) + "|"]
    for name, cells in made.items():
        shown = (f"{value:.3f} ({low:.3f}-{high:.3f})" for value, low, high in (cells[view] for view in views))
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every benchmark named on the command line."""
    parser = Parser(prog="bench/unseen.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", type=Path, nargs="+", metavar="BENCHMARK")
    parser.add_argument("--work", type=Path, help="folder for the collections, kept; default a temporary one")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    figures = {}
    with temporary_folder() as temporary:
        for benchmark in args.benchmarks:
            searched = search_benchmark(benchmark, args.work or Path(temporary), mirror=False)
            truth = searched.truth
            made = table(truth, searched.found)
            counts = {"real": len(truth.used), "groups": len(set(truth.real_groups)), "generated": len(truth.kind)}
            figures[benchmark.name] = {**counts, "first hits": made}
            print(f"\n{benchmark.name}: {counts}\n\n{told(made)}")
    if args.json:
        write_results(args.json, figures)


if __name__ == "__main__":
    run("bench/unseen.py", main)
