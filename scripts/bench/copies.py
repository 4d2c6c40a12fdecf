#!/usr/bin/env python3
"""Measure whether many copies of a real image hide it in view `combined`, on a benchmark (scripts/make_benchmark.py).

    bench/copies.py BENCHMARK [--work DIR] [--draws 10] [--json FILE]

For each draw, 60 real images, one of them the source, and 120 generated ones that have other sources or none. More and more of
the generated ones are then replaced: by the source's own vectors (byte copies), or by its warps of strength 1 to 3 in turn (near
copies). The same with nine duplicates of the source among the real images. Printed is the rank of the first copy's pair with the
source among the nearest pairs of all other real images: the mean over draws, and the worst.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from result_file import write_results
from sources import Truth, read_truth

from embeddings.files.temporary import temporary_folder
from indexer.build.build import build
from indexer.collection import Collection
from query.comparison.all_pairs import Wanted, all_pairs_of
from query.comparison.combined import COMBINED
from query.comparison.reductions.sides import ViewVectors

REALS, GENERATED = 60, 120
COUNTS = (1, 5, 11, 21, 40, 60, 90, 110)
DUPLICATES = (0, 9)

Rows = NDArray[np.int64]


def warps_of(truth: Truth, source: int) -> Rows:
    """Generated rows that are faint copies of this real one."""
    faint = (truth.kind == "warp") & (truth.strength <= 3)
    return np.array([row for row in np.flatnonzero(faint) if source in truth.sources[row]], np.int64)


def world(
    real: Collection, generated: Collection, reals: Rows, copied: Mapping[int, int], others: Rows
) -> dict[str, ViewVectors]:
    """Both sides; `copied`: place of a generated image -> row that stands there, -1 for a byte copy of the first real one."""
    seen = np.zeros(len(reals), bool), np.zeros(len(others), bool)

    def view(name: str) -> ViewVectors:
        sources = np.asarray(real.vectors(name))[reals]
        every = np.asarray(generated.vectors(name))
        made: NDArray[Any] = every[others]
        for place, row in copied.items():
            made[place] = sources[0] if row < 0 else every[row]
        return ViewVectors(generated.spec(name), sources, None, made, *seen)

    return {name: view(name) for name in generated.views}


def rank(views: Mapping[str, ViewVectors], duplicates: int) -> int:
    """Of the first copy's pair with the first real image, among the nearest pairs of those that are no duplicates of it."""
    distances = all_pairs_of(views, Wanted(1, distances=True)).distances[COMBINED]
    return 1 + int((distances[1 + duplicates :].min(axis=1) < distances[0, 0]).sum())


def ranks(real: Collection, generated: Collection, truth: Truth, seed: int) -> dict[str, list[int]]:
    """By copy and duplicates, for each of `COUNTS`."""
    rng = np.random.default_rng(seed)
    source = int(rng.choice([row for row in range(len(real)) if len(warps_of(truth, row)) >= 2]))
    warps = warps_of(truth, source)
    reals = np.array([source, *rng.permutation(np.delete(np.arange(len(real)), source))[: REALS - 1]])
    free = [row for row in range(len(generated)) if source not in truth.sources[row] and truth.kind[row] != "warp"]
    others = rng.permutation(free)[:GENERATED]
    found: dict[str, list[int]] = {}
    for duplicates in DUPLICATES:
        shown = reals.copy()
        shown[1 : 1 + duplicates] = source
        for name, rows in (("byte", np.array([-1])), ("near", warps)):
            deals = [{place: int(rows[place % len(rows)]) for place in range(count)} for count in COUNTS]
            found[f"{name} copies, {duplicates} duplicates"] = [
                rank(world(real, generated, shown, copied, others), duplicates) for copied in deals
            ]
    return found


def main() -> None:
    """Measure one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--work", type=Path, help="folder for the collections, kept; default a temporary one")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with temporary_folder() as temporary:
        folder = (args.work or Path(temporary)) / args.benchmark.name
        generated = build(folder / "generated", args.benchmark / "generated")
        real = build(folder / "real", args.benchmark / "real", fitted_on=generated)
        draws = [ranks(real, generated, read_truth(args.benchmark), seed) for seed in range(args.draws)]
    report = {}
    print(f"{'':28s}" + "".join(f"{count:>12d}" for count in COUNTS))
    for name in draws[0]:
        every = np.array([draw[name] for draw in draws])
        report[name] = {"copies": COUNTS, "mean": every.mean(axis=0).tolist(), "worst": every.max(axis=0).tolist()}
        print(f"{name:28s}" + "".join(f"{mean:8.1f} {worst:3d}" for mean, worst in zip(every.mean(0), every.max(0), strict=True)))
    if args.json:
        write_results(args.json, report)


if __name__ == "__main__":
    main()
