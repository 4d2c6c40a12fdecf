#!/usr/bin/env python3
"""Measure whether p-values and q-values hold their level, on a new benchmark for each seed.

    bench/evidence.py --work DIR [--from SLICES] [--part null|fdr|permutations ...] [--seeds 20] [--generated 1000] ...

null          generated images come from hidden images alone, so that no real image shown left a trace. Of the unused images 80
              or a few more, drawn by group, are the reference, the others are judged. The mean share of p-values at or below
              0.05 over the seeds, with its 99% t-interval, should hold the level that so many reference images can attain.
fdr           100 used images of which three in ten are copied, 800 hidden ones: the share of unused images among those called
              used at q <= 0.1, its mean over the seeds and standard error (should be at most 0.1 + 2 standard errors), and how
              many of the copied images are found.
permutations  labels are permuted between groups before anything is fitted; every method then judges labelled images
              cross-fitted. Of the permutation tests of its AUROC at most 5% should be significant, on every kind of generated
              image.

Exit codes: 0 done, 2 bad input.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from result_file import write_results
from scipy import stats

from embeddings.files.spreadsheet import read_rows
from embeddings.files.writing import make_folder
from embeddings.images.errors import NoImages
from indexer.build.build import build
from indexer.manifest import CollectionError
from query.evaluation.classification import AUROC, permutation_p_values
from query.evaluation.resampling import auroc
from query.inputs.images import Images
from query.inputs.sides import sides_of
from query.membership.case import NOT_USED, UNKNOWN, USED, Case, MembershipError
from query.membership.cross_fit import PredictionSettings, cross_fit
from query.membership.methods.registry import METHODS, make_method
from query.membership.predict import case_of

PARTS = ("null", "fdr", "permutations")
REFERENCE, UNLABELLED = 80, 100  # unused images of either sort
HIDDEN = 800
KINDS = ("warp", "blend", "eigen")
LEVEL, FALSE = 0.05, 0.1


class Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


@dataclass(frozen=True)
class Made:
    """A benchmark as a case without labels.

    Attributes:
        case: all unknown.
        used, copied: (nr,) bool.
    """

    case: Case
    used: NDArray[np.bool_]
    copied: NDArray[np.bool_]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="bench/evidence.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="for benchmarks, which are removed again")
    parser.add_argument("--from", dest="folder", type=Path, metavar="SLICES", help="folder of slices (default: drawn ones)")
    parser.add_argument("--part", action="append", choices=PARTS, help="repeat it for several (default: all)")
    parser.add_argument("--seeds", type=int, default=20, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of them")
    parser.add_argument("--generated", type=int, default=1000, metavar="N", help="generated images of each benchmark")
    parser.add_argument("--method", action="append", choices=list(METHODS), help="of part permutations (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    return parser.parse_args(argv)


def make(given: argparse.Namespace, seed: int, *options: str, generated: int | None = None) -> Made:
    """A benchmark of this seed, indexed and read; its folder is removed."""
    folder = Path(given.work, f"seed-{seed}")
    maker = Path(__file__).parents[1] / "make_benchmark.py"
    source = ["--from", str(given.folder)] if given.folder else []
    size = ["--generated", str(generated or given.generated), "--seed", str(seed)]
    made = subprocess.run([sys.executable, maker, folder / "made", *size, *source, *options], capture_output=True, text=True)
    if made.returncode:
        raise CollectionError(made.stderr.strip().splitlines()[-1])
    fakes = build(folder / "generated", folder / "made" / "generated")
    reals = build(folder / "real", folder / "made" / "real", fitted_on=fakes)
    with open(folder / "made" / "truth_real.csv", newline="") as file:
        rows = {row["real"]: row for row in read_rows(file)}
    truth = [rows[name] for name in reals.names]
    case = case_of(sides_of(reals, fakes), {}, np.array([row["group"] for row in truth]), seed)
    case = replace(case, real=in_memory(case.real), generated=in_memory(case.generated))
    shutil.rmtree(folder)
    used = np.array([row["used"] == "1" for row in truth])
    return Made(case, used, np.array([int(row["descendants"]) > 0 for row in truth]))


def in_memory(images: Images) -> Images:
    """The same without their files."""
    pixels = [images.read(row) for row in range(len(images))]
    vectors = {view: np.array(mapped) for view, mapped in images.vectors.items()}
    eyes = {view: images.embedders[view] for view in images.embedders}
    return replace(images, vectors=vectors, read=pixels.__getitem__, embedders=eyes)


def with_reference(made: Made) -> tuple[Case, NDArray[np.int64]]:
    """The case with 80 unused images or a few more as reference, whole groups drawn; and the rows of the unused ones judged."""
    unused = np.flatnonzero(~made.used)
    names, sizes = np.unique(made.case.groups[unused], return_counts=True)
    order = np.random.default_rng(made.case.seed).permutation(len(names))
    taken = names[order[: 1 + np.searchsorted(np.cumsum(sizes[order]), REFERENCE)]]
    known = np.isin(made.case.groups, taken) & ~made.used
    labels = np.where(known, NOT_USED, UNKNOWN).astype(np.int8)
    return replace(made.case, used=labels), np.setdiff1d(unused, np.flatnonzero(known))


def null(given: argparse.Namespace) -> dict[str, Any]:
    """Shares of small p-values where there is nothing to be found."""
    shares, levels = [], []
    for seed in range(given.first, given.first + given.seeds):
        shown = ("--used", "2", "--unused", str(REFERENCE + UNLABELLED), "--hidden", str(HIDDEN), "--copied", "0")
        case, asked = with_reference(make(given, seed, *shown, "--kinds", "warp,blend"))
        p = cross_fit(make_method("fusion"), case, PredictionSettings()).p[asked]
        n = len(case.reference)
        shares.append(float((p <= LEVEL).mean()))
        levels.append(np.floor(LEVEL * (n + 1)) / (n + 1))
        print(f"null, seed {seed}: {shares[-1]:.3f} of {len(asked)} at or below {LEVEL}", file=sys.stderr)
    mean, half = float(np.mean(shares)), float(stats.t.ppf(0.995, len(shares) - 1) * stats.sem(shares))
    return {"shares": shares, "mean": mean, "low": mean - half, "high": mean + half, "attainable": float(np.mean(levels))}


def fdr(given: argparse.Namespace) -> dict[str, Any]:
    """False discovery proportions, and how many copied images are found."""
    wrong, found, areas = [], [], []
    for seed in range(given.first, given.first + given.seeds):
        options = ("--used", "100", "--unused", str(REFERENCE + UNLABELLED), "--hidden", str(HIDDEN), "--copied", "0.3")
        made = make(given, 1000 + seed, *options)
        case, asked = with_reference(made)
        judged = cross_fit(make_method("fusion"), case, PredictionSettings(fdr=FALSE))
        called = np.array([decision == "used" for decision in judged.decision])
        false = np.zeros(len(called), bool)
        false[asked] = called[asked]
        wrong.append(false.sum() / max(1, (called & (case.used == UNKNOWN)).sum()))
        found.append(called[made.copied].mean())
        some = np.concatenate([np.flatnonzero(made.copied), asked])
        areas.append(auroc(judged.value[some], made.copied[some]))
        print(f"fdr, seed {seed}: {called.sum()} predicted used, {false.sum()} wrongly, {found[-1]:.2f} found", file=sys.stderr)
    figures = {"wrong": list(map(float, wrong)), "mean": float(np.mean(wrong)), "standard_error": float(stats.sem(wrong))}
    return {**figures, "found": float(np.mean(found)), "copied_auroc": float(np.mean(areas))}


def permutations(given: argparse.Namespace) -> dict[str, Any]:
    """Share of significant permutation tests by kind and method, labels permuted before anything is fitted."""
    result: dict[str, Any] = {}
    for kind in KINDS:
        made = make(given, 2000, "--used", "40", "--unused", "40", "--kinds", kind, generated=100)
        result[kind] = {}
        for name in given.method or METHODS:
            hits = [_significant(name, made, seed) for seed in range(given.seeds)]
            result[kind][name] = float(np.mean(hits))
            print(f"permutations, {kind}, {name}: {sum(hits)} of {len(hits)} significant", file=sys.stderr)
    return result


def _significant(name: str, made: Made, seed: int) -> bool:
    """Whether a method that knows nothing seems to know something."""
    groups, first = np.unique(made.case.groups, return_index=True)
    permuted = np.random.default_rng(seed).permutation(made.used[first])  # whole groups: all images of a group are of one kind
    used = permuted[np.searchsorted(groups, made.case.groups)]
    case = replace(made.case, used=np.where(used, USED, NOT_USED).astype(np.int8), seed=seed, memory=dict(made.case.memory))
    judged = cross_fit(make_method(name), case, PredictionSettings(primary=name))
    value = np.where(np.isnan(judged.value), np.nanmin(judged.value), judged.value)
    note = np.array([answer is True for answer in judged.used])
    return bool(permutation_p_values(value, note, used, case.groups, draws=199)[AUROC] <= LEVEL)


def told(results: dict[str, Any], seeds: int) -> str:
    """All results as text."""
    lines = []
    if "null" in results:
        found = results["null"]
        lines.append(
            f"null: mean share of p <= {LEVEL} over {seeds} seeds {found['mean']:.4f}, 99% interval "
            f"[{found['low']:.4f}, {found['high']:.4f}]; attainable {found['attainable']:.4f}"
        )
    if "fdr" in results:
        found = results["fdr"]
        lines.append(
            f"fdr: mean false share among images predicted used at q <= {FALSE} over {seeds} seeds {found['mean']:.3f}, standard "
            f"error {found['standard_error']:.3f}; {found['found']:.3f} of the copied images predicted used; AUROC of the copied "
            f"{found['copied_auroc']:.3f}"
        )
    if "permutations" in results:
        kinds = results["permutations"]
        lines += [f"| method | {' | '.join(kinds)} |", f"|---|{'---|' * len(kinds)}"]
        names = next(iter(kinds.values()))
        lines += [f"| {name} | {' | '.join(f'{found[name]:.2f}' for found in kinds.values())} |" for name in names]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    given = arguments(argv)
    parts = {"null": null, "fdr": fdr, "permutations": permutations}
    try:
        make_folder(given.work)
        results = {name: parts[name](given) for name in given.part or PARTS}
    except (NoImages, CollectionError, MembershipError, OSError) as error:
        print(f"bench/evidence.py: {error}", file=sys.stderr)
        return 2
    print(told(results, given.seeds))
    if given.json:
        write_results(given.json, results, list(argv) if argv is not None else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
