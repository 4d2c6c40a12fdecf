#!/usr/bin/env python3
"""What looking closely at pairs adds, on benchmarks with known truth (scripts/make_benchmark.py).

    bench_verify.py BENCHMARK... [--images N] [--mirror] [--turned] [--unknown-groups] [--work DIR] [--json FILE]

Looks at every generated image, or at N of them drawn at random, and prints for each kind and strength, with 95% intervals from
resampling whole groups of real images:

  first hit     share whose first real image is of the group of a true source: by view `combined`, and ranked anew
  exactly       the same, the source itself
  all within 5  share for which the first five real images show the groups of all visible sources
  stands out    share with a pair above the threshold; where that is the right one ("rightly"). Of images without a visible source
                that should be about one in a hundred. The threshold comes from the benchmark's real images, never from truth

and the processor time for a pair, everything included but the search of the views.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_sources import Judged, Table, Truth, cell, judge, show
from numpy.typing import NDArray

from indexer.collection import Collection
from query.evaluate import grouped_proportion
from query.facts import Groups, Sides
from query.pairs import COMBINED
from query.pictures import Pictures
from query.verified import VERIFIED, Budget, Verified, verify_run

SEED = 0  # of the draw of images


def looked_at(judged: Judged, folder: Path, args: argparse.Namespace) -> tuple[Verified, float]:
    """The benchmark's pairs, and seconds of processor time for each."""
    mirrored = Collection(folder / "mirrored") if args.mirror else None
    sides = Sides(Collection(folder / "real"), Collection(folder / "generated"), mirrored)
    rows = np.random.default_rng(SEED).permutation(len(sides.generated))[: args.images]
    truth = judged.truth
    groups = Groups(np.arange(len(truth.used)) if args.unknown_groups else truth.real_groups, not args.unknown_groups)

    def progress(stage: str, done: int, total: int) -> None:
        print(f"\r{stage} {done}/{total}     ", end="", file=sys.stderr, flush=True)

    pictures = Pictures(sides.real), Pictures(sides.generated)
    started = time.process_time()
    options = {"budget": Budget(), "rows": rows, "turned": args.turned, "progress": progress}
    found = verify_run(sides, pictures, judged.found, groups, **options)
    print(file=sys.stderr)
    controls = len(found.reference.values) * len(found.values) / max(1, found.looked)  # their pairs are not in the result
    return found, (time.process_time() - started) / (len(found.values) + controls)


def firsts(found: Verified, count: int) -> dict[int, list[int]]:
    """Generated row -> its first real rows, ranked anew."""
    order = np.lexsort((found.real, found.distances, found.generated))
    made: dict[int, list[int]] = {}
    for number in order:
        rows = made.setdefault(int(found.generated[number]), [])
        if len(rows) < count:
            rows.append(int(found.real[number]))
    return made


def ranked(truth: Truth, ranks: dict[str, dict[int, list[int]]], looked: NDArray[np.int64]) -> Table:
    """How the first places are filled, by the views and anew."""
    group = truth.real_groups
    table: Table = {}
    for name, counted in truth.rows():
        rows = [int(row) for row in looked if counted[row]]
        if not rows:
            continue
        own = {row: {group[source] for source in truth.sources[row]} for row in rows}
        for view, first in ranks.items():
            hits = {
                "first hit": [group[first[row][0]] in own[row] for row in rows],
                "exactly": [first[row][0] in truth.sources[row] for row in rows],
                "all within 5": [own[row] <= {group[real] for real in first[row]} for row in rows],
            }
            for what, right in hits.items():
                table.setdefault(f"{name}, {what}", {})[view] = cell(grouped_proportion(right, truth.groups[rows]))
    return table


def standing_out(truth: Truth, found: Verified, looked: NDArray[np.int64]) -> Table:
    """Images above the threshold."""
    threshold = found.reference.threshold
    above = found.values > (np.inf if threshold is None else threshold)
    any_above, right_above = np.zeros((2, len(truth.sources)), bool)
    any_above[found.generated[above]] = True
    group = truth.real_groups
    for real, generated in zip(found.real[above].tolist(), found.generated[above].tolist(), strict=True):
        right_above[generated] |= group[real] in {group[source] for source in truth.sources[generated]}
    kinds = [*truth.rows(), ("eigen", truth.kind == "eigen"), ("hidden sources", ~truth.visible & (truth.kind != "eigen"))]
    table: Table = {}
    for name, counted in kinds:
        rows = looked[counted[looked]]
        if len(rows):
            columns = {"stands out": any_above, "rightly": right_above}
            table[name] = {what: cell(grouped_proportion(hits[rows], truth.groups[rows])) for what, hits in columns.items()}
    return table


def main() -> None:
    """Look closely at every benchmark named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", type=Path, nargs="+")
    parser.add_argument("--images", type=int)
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--turned", action="store_true")
    parser.add_argument("--unknown-groups", action="store_true", help="as if nobody knew which slices are of one patient")
    parser.add_argument("--work", type=Path, help="folder for the collections, kept; default a temporary one")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    report = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        for benchmark in args.benchmarks:
            judged = judge(benchmark, work, args.mirror)
            found, seconds = looked_at(judged, work / benchmark.name, args)
            looked = np.unique(found.generated)
            nearest = judged.found[COMBINED].generated.rows
            ranks = {COMBINED: {int(row): nearest[row, :5].tolist() for row in looked}, VERIFIED: firsts(found, 5)}
            tables = {"ranked": ranked(judged.truth, ranks, looked), "standing out": standing_out(judged.truth, found, looked)}
            for title, table in tables.items():
                show(f"{benchmark.name}: {title}", table)
            print(found.reference.said)
            print(f"{len(looked)} images, {len(found.values)} pairs, {1000 * seconds:.1f} ms of one core a pair")
            report[benchmark.name] = {**tables, "milliseconds a pair": 1000 * seconds, "facts": found.facts}
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
