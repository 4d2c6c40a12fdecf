#!/usr/bin/env python3
"""Measure what `synthtrace filter` withholds and what leakage remains, on benchmarks (scripts/make_benchmark.py).

    bench/filter.py BENCHMARK... [--risk 0.01] [--work DIR] [--seed 0] [--json FILE]

Training images are the used ones that are shown, hold-out images the unused ones. Prints for each benchmark, with 95% intervals
from resampling whole groups of real images:

  withheld   share of generated images withheld, by kind and strength where a source is among the training images; of those whose
             sources are all hidden, which the filter should keep; and of those that have no source (eigen)
  leakage    of the combined view before and after, on real images that did not choose the filter (see query/leakage/filter.py)

The truth does not name hidden sources, so intervals of images without a visible one take each by itself: they are too narrow.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from result_file import write_results

from embeddings.files.spreadsheet import read_rows
from embeddings.files.temporary import temporary_folder
from indexer.build.build import build
from query.comparison.combined import COMBINED
from query.evaluation.resampling import grouped_proportion
from query.inputs.groups import groups_from_table
from query.leakage.filter import Release, sort_out
from query.leakage.leakage import PRIMARY
from query.leakage.risk import RISK

HIDDEN, NONE = "hidden sources only", "eigen"


@dataclass(frozen=True)
class Truth:
    """What a benchmark's truth files say.

    Attributes:
        rows: for each generated image, in the order of names, the row of the table it counts in.
        groups: group of its first visible source, else one of its own.
        real_group: name of a real image -> group.
        used: name of a real image -> whether it was used.
    """

    rows: NDArray[np.str_]
    groups: NDArray[np.str_]
    real_group: dict[str, str]
    used: dict[str, bool]


def read_truth(benchmark: Path) -> Truth:
    """The truth files of a benchmark."""
    with open(benchmark / "truth_real.csv", newline="") as file:
        reals = list(read_rows(file))
    with open(benchmark / "truth_generated.csv", newline="") as file:
        generated = sorted(read_rows(file), key=lambda row: row["generated"])
    real_group = {row["real"]: row["group"] for row in reals}
    rows, groups = [], []
    for row in generated:
        visible = [name for name in row["sources"].split("|") if name in real_group]
        groups.append(real_group[visible[0]] if visible else f"alone {row['generated']}")
        named = f"warp {row['strength']}" if row["kind"] == "warp" else row["kind"]
        rows.append(named if visible else NONE if row["kind"] == NONE else HIDDEN)
    return Truth(np.array(rows), np.array(groups), real_group, {row["real"]: row["used"] == "1" for row in reals})


def filtered(benchmark: Path, work: Path, truth: Truth, risk: float, seed: int) -> Release:
    """The filter's decisions, collections kept in the work folder."""

    def progress(stage: str, done: int, total: int) -> None:
        print(f"\r{benchmark.name}: {stage} {done}/{total}     ", end="", file=sys.stderr, flush=True)

    folder = work / benchmark.name
    generated = build(folder / "generated", benchmark / "generated", progress=progress)
    sides = [
        build(
            folder / name,
            *(benchmark / "real" / real for real, used in truth.used.items() if used is wanted),
            fitted_on=generated,
        )
        for name, wanted in (("training", True), ("hold-out", False))
    ]
    print(file=sys.stderr)
    return sort_out(generated, *sides, risk=risk, groups=groups_from_table(truth.real_group), seed=seed)


def withheld_rows(truth: Truth, withheld: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    """Row of the table -> number of images, share withheld and its interval."""
    made = {}
    for row in sorted(set(truth.rows), key=lambda row: (row in (HIDDEN, NONE), not row.startswith("warp"), row)):
        here = truth.rows == row
        found = grouped_proportion(withheld[here], truth.groups[here])
        made[row] = {"images": int(here.sum()), "share": found.value, "low": found.low, "high": found.high}
    return made


def report_of(truth: Truth, made: Release) -> dict[str, Any]:
    """All figures of a benchmark, JSON-able."""
    return {**made.as_dict(), "rows": withheld_rows(truth, made.withheld)}


def show(name: str, report: dict[str, Any]) -> None:
    """Print them."""
    print(f"\n{name}: {report['withheld']} of {report['generated']} withheld at a risk of {report['risk']:g}")
    for row, found in report["rows"].items():
        interval = f"[{found['low']:.3f},{found['high']:.3f}]"
        print(f"{row:28s}{found['images']:7d}{found['share']:8.3f} {interval}")
    for when, leak in report["leakage"].items():
        for figure in PRIMARY:
            found = leak["views"][COMBINED][figure]
            print(f"{when + ': ' + figure:35s}{cell(found['value'])} [{cell(found['low'])},{cell(found['high'])}]")


def cell(value: float | None) -> str:
    """A figure, or that there is none."""
    return "     -" if value is None else f"{value:6.3f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Judge every benchmark named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", type=Path, nargs="+")
    parser.add_argument("--risk", type=float, default=RISK)
    parser.add_argument("--work", type=Path, help="folder for the collections, kept; default a temporary one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    report = {}
    with temporary_folder() as temporary:
        for benchmark in args.benchmarks:
            truth = read_truth(benchmark)
            made = filtered(benchmark, args.work or Path(temporary), truth, args.risk, args.seed)
            report[benchmark.name] = report_of(truth, made)
            show(benchmark.name, report[benchmark.name])
    if args.json:
        write_results(args.json, report, list(argv) if argv is not None else None)


if __name__ == "__main__":
    main()
