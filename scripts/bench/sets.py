#!/usr/bin/env python3
"""Measure the comparison of several generated sets where the truth is known.

    bench/sets.py [--repeats 200] [--case NAME ...] [--json FILE]
    bench/sets.py --collections A B --training T --hold-out H --groups CSV|REGEX [--repeats 20] [--json FILE]

Without collections on points: training and hold-out patients, and two sets A and B, embedded by a whitening that is fitted as the
case says. Cases: both sets of one kind, of equal and of unequal size; the same, with the whitening fitted on A alone; sets of two
kinds and sides of unequal patients, none copied; and sets of which B copies training images, each image with one probability. Per
case and figure of the combined view: how often the interval of B - A holds 0, and the mean difference of all repeats, and how
often A is said to leak less.

With --collections, on real images: all images of both sets are thrown together and dealt out at random, again and again, so
that no difference is there. Exit codes: 0 done, 2 bad input.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common.command import Parser, run
from numpy.typing import NDArray
from result_file import write_results

from embeddings.types import Metric
from embeddings.views.whitening import fit_whitening
from indexer.collection import Collection
from indexer.search import brute_force
from query.comparison.combined import COMBINED
from query.evaluation.resampling import grouped_proportion
from query.inputs.groups import read_groups
from query.leakage.draws import RealGroups
from query.leakage.leakage import LeakageSets, View, combined_of, views_of_sets
from query.leakage.set_figures import LEAKS_MORE
from query.leakage.sets import LeakageOfSets, figures_of_sets, groups_of_sets
from query.text import table

WIDTH, PATIENTS, IMAGES = 32, 30, 2  # of points: numbers, patients of a side, images of each
LARGE, SMALL = (60, 1, 4), (25, 2, 6)  # of sides that differ: patients, fewest and most images
NOISE = 0.05  # between a copy and its source


@dataclass(frozen=True)
class Case:
    """A case.

    Attributes:
        sizes: of A and B.
        copied: probability that an image of B is a copy.
        on_first: the whitening is fitted on A alone.
        apart: B is of another kind, and sides have unequal patients.
        share: repeats as a share of those asked for.
    """

    sizes: tuple[int, int] = (100, 100)
    copied: float = 0.0
    on_first: bool = False
    apart: bool = False
    share: float = 1.0


CASES = {
    "one kind": Case(),
    "one kind, 60 and 600 images": Case(sizes=(60, 600), share=0.5),
    "one kind, fitted on A alone": Case(on_first=True, share=0.5),
    "two kinds, sides differ": Case(apart=True),
    "B: 10% copies, 200 images": Case(sizes=(200, 200), copied=0.1, share=0.5),
    "B: 20% copies, 100 images": Case(copied=0.2, share=0.5),
}


def simulated(case: Case, seed: int) -> LeakageOfSets:
    """Both sets of one world."""
    rng = np.random.default_rng(seed)
    scale = 1 / np.sqrt(np.arange(1, WIDTH + 1))

    def patients(images: NDArray[np.int64], spread: float = 1.0, off: float = 0.0) -> NDArray[np.float64]:
        centres = np.repeat(off + spread * rng.normal(size=(len(images), WIDTH)), images, axis=0)
        return (centres + 0.3 * rng.normal(size=centres.shape)) * scale

    def of_side(law: tuple[int, int, int]) -> NDArray[np.int64]:
        return rng.integers(law[1], law[2] + 1, law[0]) if case.apart else np.full(PATIENTS, IMAGES)

    ours, theirs = of_side(LARGE), of_side(SMALL)
    training, hold_out = patients(ours), patients(theirs)
    sets = [patients(np.ones(case.sizes[0], np.int64))]
    sets.append(patients(np.ones(case.sizes[1], np.int64), *((0.6, 0.3) if case.apart else ())))
    copies = np.flatnonzero(rng.random(case.sizes[1]) < case.copied)
    sources = rng.integers(len(training), size=len(copies))
    sets[1][copies] = training[sources] + NOISE * rng.normal(size=(len(copies), WIDTH)) * scale
    equal = min(case.sizes)
    sample = sets[0] if case.on_first else np.vstack([each[-equal:] for each in sets])
    whitening = fit_whitening(sample.astype(np.float32), WIDTH, 0.5)
    assert whitening is not None
    embedded = [whitening.apply(points.astype(np.float32)) for points in (np.vstack(sets), training, hold_out)]
    between = brute_force.distances(Metric.COSINE, embedded[0], np.vstack(embedded[1:])).astype(np.float32)
    rows = {"A": np.arange(case.sizes[0]), "B": case.sizes[0] + np.arange(case.sizes[1])}
    groups = RealGroups(np.repeat(np.arange(len(ours)), ours), len(ours) + np.repeat(np.arange(len(theirs)), theirs))
    split = len(training)
    blank = {"points": np.zeros(len(between), bool)}, {"points": np.zeros(len(groups.both), bool)}
    scaled_by = np.concatenate([own[-equal:] for own in rows.values()])
    together = combined_of({"points": between}, *blank, groups.both, scaled_by)
    seen = [np.ones(len(points), bool) for points in embedded]
    return figures_of_sets(
        {COMBINED: View(together[:, :split], together[:, split:], seen[0], seen[1], seen[2])}, rows, groups, seed=seed
    )


def counted(found: list[LeakageOfSets]) -> dict[str, dict[str, Any]]:
    """Figure of the combined view -> what became of its differences."""
    counts = {}
    for figure in LEAKS_MORE:
        of_b = [each.of(each.sets[1].name)[figure] for each in found if figure in each.of(each.sets[1].name)]
        apart = [each.difference for each in of_b if each.difference and each.difference.has_interval]
        if apart:
            mean = float(np.mean([each.value for each in apart]))
            held = np.array([each.low <= 0 <= each.high for each in apart])
            held_mean = np.array([each.low <= mean <= each.high for each in apart])
            told = np.array([each.less is False for each in of_b])
            counts[figure] = {
                "repeats": len(apart),
                "holds_0": grouped_proportion(held, np.arange(len(held))).as_dict(),
                "holds_mean": grouped_proportion(held_mean, np.arange(len(held))).as_dict(),
                "b_leaks_more": grouped_proportion(told, np.arange(len(told))).as_dict(),
                "mean_difference": mean,
                "standard_error_of_mean": float(np.std([each.value for each in apart], ddof=1) / np.sqrt(len(apart))),
                "mean_half_width": float(np.mean([each.high - each.value for each in apart])),
            }
    return counts


def dealt(views: Mapping[str, View], groups: RealGroups, seed: int) -> LeakageOfSets:
    """The rows of all sets dealt out to two at random."""
    rows = np.random.default_rng(seed).permutation(len(views[COMBINED].training))
    halves = {"A": np.sort(rows[: len(rows) // 2]), "B": np.sort(rows[len(rows) // 2 :])}
    return figures_of_sets({COMBINED: views[COMBINED]}, halves, groups, seed=seed)


def main() -> int:
    """Measure, print, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--case", choices=CASES, action="append", help="only this case; repeat for several")
    parser.add_argument("--collections", type=Path, nargs=2)
    parser.add_argument("--training", type=Path)
    parser.add_argument("--hold-out", type=Path)
    parser.add_argument("--groups")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    if options.collections:
        if not (options.training and options.hold_out):
            parser.error("--collections needs --training and --hold-out")
        real = Collection(options.training), Collection(options.hold_out)
        sets = [LeakageSets(Collection(each), *real) for each in options.collections]
        groups = groups_of_sets(dict(zip("AB", sets, strict=True)), read_groups(options.groups) if options.groups else None)
        views = views_of_sets(sets, groups)
        figures["dealt out"] = counted([dealt(views, groups, seed) for seed in range(options.repeats)])
        show("dealt out", figures["dealt out"])
        if options.json:
            write_results(options.json, figures)
    for name, case in {} if options.collections else {each: CASES[each] for each in options.case or CASES}.items():
        repeats = max(3, round(options.repeats * case.share))
        figures[name] = counted([simulated(case, seed) for seed in range(repeats)])
        show(name, figures[name])
        if options.json:
            write_results(options.json, figures)  # after each case: the next may be interrupted
    return 0


def show(name: str, counts: Mapping[str, Mapping[str, Any]]) -> None:
    """A table of one case."""

    def of(share: Mapping[str, Any]) -> str:
        return f"{share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}]"

    shares = "holds_0", "holds_mean", "b_leaks_more"
    rows = [
        [figure, each["repeats"], *(of(each[share]) for share in shares), f"{each['mean_difference']:+.4f}"]
        for figure, each in counts.items()
    ]
    head = ["figure", "repeats", "interval holds 0", "holds the mean", "B said to leak more", "mean B - A"]
    print(f"\n{name}\n{table(head, rows)}", flush=True)


if __name__ == "__main__":
    run("bench/sets.py", main)
