#!/usr/bin/env python3
"""Measure how often `synthtrace attribute` finds the subset that a generated image came from, and what it says of others.

    bench/subsets.py [--from DIR [--groups CSV] [--images 3]] [--patients 160] [--generated 100] [--hidden 0.5]
                     [--look] [--seed 7] [--json FILE]

Six simulated generators (scripts/make_benchmark.py: warps, blends, draws in the subspace of all training images). Five were each
trained on one of five real subsets, whose numbers of patients are as 8 : 4 : 2 : 1 : 1; the sixth on patients that are not shown.

  accuracy      share of the images of the first five generators whose most probable subset is the true one; balanced: the mean of
                the subsets. 95% intervals by the patient of the best real image
  named         share of them that are named at a probability of 80% or more, and how many of these rightly
  uncalibrated  without any label; calibrated: with all labels, each image judged without those of its own patient
  none          of the sixth generator: the mean probability of each subset, how often each is the most probable, and how many are
                named, which is wrong whatever the name
  look          balanced accuracy for real images by images of other patients, beside patients dealt at random
  without       accuracy where the patient of the best real image is left out

With --hidden so many of the training images are not shown, though their subset is. Nothing tells the subset of images that were
made from these, so accuracy falls, and the probabilities have to say so. With --look each subset gets a tone of its own (gamma
0.6 to 1.6), so that subsets differ in look.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common.command import Parser, run
from result_file import write_results

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import make_folder
from embeddings.types import GreyImage
from indexer.build.build import build
from query.benchmarks.benchmark import BenchmarkError, BenchmarkSettings, Slice, folder_slices, procedural_slices, write_benchmark
from query.comparison.subsets import UNDECIDED, SubsetVotes
from query.evaluation.classes import ClassEvaluation, evaluate_classes
from query.evaluation.resampling import Estimate, grouped_proportion
from query.inputs.groups import groups_from_csv
from query.notebook import Run, compare

SUBSETS, NONE = ("s1", "s2", "s3", "s4", "s5"), "none"
SHARES = (8, 4, 2, 1, 1)  # of the patients of the subsets
GAMMAS = (0.6, 0.8, 1.0, 1.3, 1.6, 1.0)


def dealt(slices: Sequence[Slice], patients: int, seed: int) -> dict[str, list[Slice]]:
    """Subset, or none, -> its images, whole patients at a time.

    Raises:
        BenchmarkError: there are too few patients.
    """
    members: dict[str, list[Slice]] = defaultdict(list)
    for each in slices:
        members[each.group].append(each)
    sizes = [max(2, round(patients * share / sum(SHARES))) for share in (*SHARES, SHARES[0])]
    order = [sorted(members)[place] for place in np.random.default_rng(seed).permutation(len(members))]
    if len(order) < sum(sizes):
        raise BenchmarkError(f"{sum(sizes)} patients are needed, there are {len(order)}; ask for fewer --patients")
    ends = np.cumsum([0, *sizes]).tolist()
    return {
        name: [each for group in order[start:end] for each in members[group]]
        for name, start, end in zip((*SUBSETS, NONE), ends, ends[1:], strict=False)
    }


def toned(load: Any, gamma: float) -> GreyImage:
    """The image with another tone."""
    table = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return np.asarray(cv2.LUT(load(), table), np.uint8)


def made(folder: Path, parts: Mapping[str, Sequence[Slice]], args: argparse.Namespace) -> Run:
    """The benchmark, written, indexed and compared."""
    groups: dict[str, str] = {}
    for number, (name, slices) in enumerate(parts.items()):
        tone = GAMMAS[number] if args.look else 1.0
        own = [replace(each, load=partial(toned, each.load, tone)) for each in slices]
        hidden = round(args.hidden * len(own))
        settings = BenchmarkSettings(args.generated, len(own) - hidden, 0, hidden, seed=10 * args.seed + number)
        write_benchmark(folder / name, settings, slices=own)
        make_folder(folder / "made")
        (folder / name / "generated").rename(folder / "made" / name)
        if name != NONE:
            make_folder(folder / "real")
            (folder / name / "real").rename(folder / "real" / name)
            lines = (folder / name / "truth_real.csv").read_text(encoding="utf-8").splitlines()[1:]
            groups |= {f"{name}/{line.split(',')[0]}": line.split(",")[-1] for line in lines}
    generated = build(folder / "generated.collection", folder / "made")
    return compare(build(folder / "real.collection", folder / "real", fitted_on=generated), generated, groups=groups)


def figures(found: Run, votes: SubsetVotes, true: Mapping[int, int]) -> dict[str, Any]:
    """What is measured of the images of the five generators."""
    rows = np.array(list(true))
    unit = found.groups.of_row[votes.best[rows]]
    held = evaluate_classes(votes.probability[rows], np.array(list(true.values())), votes.subsets, unit)
    named = np.array([votes.answers[row] != UNDECIDED for row in rows])
    right = votes.vote[rows] == np.array(list(true.values()))
    shares = {"named": grouped_proportion(named, unit), "right": grouped_proportion(right[named], unit[named])}
    return {**described(held), **{name: list(each.ends) for name, each in shares.items()}, "sharpness": votes.sharpness}


def described(held: ClassEvaluation) -> dict[str, Any]:
    """Measures as value, low, high, and the curve of calibration."""
    bins = [[each.images, each.mean, *each.used.ends] for each in held.reliability]
    return {**{str(name): list(each.ends) for name, each in held.measures.items()}, "reliability": bins}


def of_none(votes: SubsetVotes) -> dict[str, Any]:
    """What is said of the sixth generator's images."""
    rows = [row for row, name in enumerate(votes.generated) if name.startswith(f"{NONE}/")]
    most = np.bincount(votes.vote[rows], minlength=len(votes.subsets)) / len(rows)
    named = np.array([votes.answers[row] != UNDECIDED for row in rows])
    return {
        "mean": votes.probability[rows].mean(axis=0).tolist(),
        "largest": float(votes.probability[rows].max(axis=1).mean()),
        "most_probable": most.tolist(),
        "named": list(grouped_proportion(named, np.arange(len(rows))).ends),
    }


def measured(found: Run) -> dict[str, Any]:
    """All figures of one benchmark."""
    names = found.comparison.sides.generated.names
    true = {row: SUBSETS.index(name.split("/")[0]) for row, name in enumerate(names) if not name.startswith(f"{NONE}/")}
    labels = {names[row]: SUBSETS[number] for row, number in true.items()}
    matches = found.match()
    plain, fitted = (found.attribute("folder", given, matches=matches) for given in (None, labels))
    without = fitted.controls.without_best
    look = plain.controls.look
    report = {
        "patients": plain.members.patients.tolist(),
        "uncalibrated": figures(found, plain, true),
        "calibrated": figures(found, fitted, true),
        "none_uncalibrated": of_none(plain),
        "none_calibrated": of_none(fitted),
        "without_best": described(without) if without else None,
        "look": look and {"right": look.right, "by_chance": look.by_chance, "p_value": look.p_value, "images": look.images},
    }
    for name in ("uncalibrated", "calibrated"):
        one, none = report[name], report[f"none_{name}"]
        measures = [
            f"{measure.replace('_', ' ')} {_ends(one[measure])}" for measure in ("accuracy", "balanced_accuracy", "kappa")
        ]
        print(f"{name:13s} {', '.join(measures)}")
        print(f"{'':13s} log loss {_ends(one['log_loss'])}, named {_ends(one['named'])}, of these right {_ends(one['right'])}")
        curve = [[images, round(mean, 2), round(right, 2)] for images, mean, right, *_ in one["reliability"]]
        print(f"{'':13s} reliability (images, mean, right): {curve}")
        print(f"{'':13s} none: mean {np.round(none['mean'], 2)}, most probable {np.round(none['most_probable'], 2)},", end=" ")
        print(f"largest {none['largest']:.2f}, named {_ends(none['named'])}")
    print(f"patients {report['patients']}; look {report['look']}; without best {_ends(report['without_best']['accuracy'])}")
    return report


def _ends(ends: Sequence[float]) -> str:
    value, low, high = ends
    return f"{Estimate(value, low, high).value:.3f} [{low:.3f}, {high:.3f}]"


def slices_of(args: argparse.Namespace) -> list[Slice]:
    """The images to deal out, at most so many of a patient."""
    if not args.folder:
        return procedural_slices(2 * args.patients, args.seed)
    slices = folder_slices(args.folder, groups_from_csv(args.groups) if args.groups else {})
    kept: dict[str, list[Slice]] = defaultdict(list)
    for each in slices:
        kept[each.group].append(each)
    chosen = (of[:: max(1, len(of) // args.images)][: args.images] for of in kept.values())
    return [each for of in chosen for each in of]


def main() -> None:
    """Measure one benchmark."""
    parser = Parser(prog="subsets.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="folder", type=Path, metavar="DIR", help="images; without it procedural slices")
    parser.add_argument("--groups", type=Path, metavar="CSV", help="columns image,group")
    parser.add_argument("--images", type=int, default=3, help="of a patient at most")
    parser.add_argument("--patients", type=int, default=160, help="of the five subsets together, about")
    parser.add_argument("--generated", type=int, default=100, help="images of each generator")
    parser.add_argument("--hidden", type=float, default=0.0, help="share of the training images that are not shown")
    parser.add_argument("--look", action="store_true", help="give each subset a tone of its own")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    parts = dealt(slices_of(args), args.patients, args.seed)
    with temporary_folder() as folder:
        report = measured(made(folder, parts, args))
    if args.json:
        write_results(args.json, report)


if __name__ == "__main__":
    run(Path(sys.argv[0]).name, main)
