#!/usr/bin/env python3
"""Measure every membership method: fitted on one benchmark, evaluated on an independent one.

    bench/membership.py --work DIR [--from SLICES] [--level all-copied ...] [--json FILE]
    bench/membership.py --work DIR --pair DEV TEST [--same-generator] [--json FILE]

Makes benchmarks from a folder of slices (procedural ones without it): one of 500 generated and 80 + 80 real images (seed 1) that
methods learn on, and one of 10,000 and 100 + 100 (seed 2, without the images and groups of the first) that they are judged on,
at three levels of leakage:

  all-copied   every used image is copied about a hundred times
  some-copied  three in ten used images are copied
  hidden       the same, and most generated images are made from 800 images that are not shown

With --pair it takes two folders made ready (generated/, real/, truth_real.csv) instead; with --same-generator the labels of the
first are also true for the generated images of the second. Then all methods that need no used images are measured twice: with
the used images of the first shown, and with its unused ones, the reference, alone.

What learns is fitted on the first benchmark and applied to the second. What needs a reference gets the unused images of the first
(and, of the same generator, the used ones to calibrate by). Thresholds found with 500 generated images are matched by draws.

Prints beside the published figures: accuracy, F1 and AUROC with 95% intervals by groups, permutation p-values, true positive
rates, the AUROC over copied used images alone, and how far the primary method is ahead on the same images. Exit codes: 0 done, 2
bad input.
"""

import argparse
import csv
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common.command import Parser
from numpy.typing import NDArray
from result_file import write_results

from embeddings.files.spreadsheet import read_rows
from embeddings.files.writing import make_folder
from embeddings.images.errors import NoImages
from indexer.build.build import build
from indexer.collection import Collection
from indexer.manifest import CollectionError
from query.benchmarks.published import PUBLISHED
from query.evaluation.classification import AUROC, Measure, counts, measure_intervals, paired_differences, permutation_p_values
from query.evaluation.ranking import RATES, auroc_interval, true_rate
from query.evaluation.resampling import auroc
from query.inputs.labels import labels_by_row
from query.inputs.sides import sides_of
from query.membership.case import Case, MembershipError, Needs
from query.membership.cross_fit import Prediction, PredictionSettings, cross_fit
from query.membership.decisions import Role
from query.membership.methods.registry import METHODS, make_method
from query.membership.predict import case_of

LEVELS = {
    "all-copied": [],
    "some-copied": ["--copied", "0.3"],
    "hidden": ["--copied", "0.3", "--hidden", "800"],
}
OF_PUBLISHED = {  # name in published.csv -> ours
    "S2 CNN": "cnn",
    "S3 SIFT + KNN": "sift-knn",
    "S4 relation network": "relation",
    "S5 ResNet + clustering": "clusters",
    "S6 ResNet + SVM": "svm",
    "VCMI nearest distance": "vcmi",
}
SIZES = {"dev": (500, 80), "test": (10_000, 100)}  # generated images, used images and as many unused
SEEDS = {"dev": "1", "test": "2"}
DRAWS = 5
ALONE = "pair, reference alone"


@dataclass(frozen=True)
class Truth:
    """What is known of the real images of one folder.

    Attributes:
        used: name -> whether it was used.
        group: name -> its group.
        copied: names of used images that left copies.
    """

    used: Mapping[str, bool]
    group: Mapping[str, str]
    copied: frozenset[str]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="bench/membership.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="benchmarks and collections, used again")
    parser.add_argument("--from", dest="folder", type=Path, metavar="SLICES", help="folder of slices (default: drawn ones)")
    parser.add_argument("--level", action="append", choices=list(LEVELS), help="level of leakage; repeat it for several")
    parser.add_argument("--pair", nargs=2, type=Path, metavar=("DEV", "TEST"), help="benchmarks that are there")
    parser.add_argument("--same-generator", action="store_true", help="the labels of DEV hold for the generated images of TEST")
    parser.add_argument("--method", action="append", choices=list(METHODS), help="method; repeat it for several (default: all)")
    parser.add_argument("--sizes", nargs=4, type=int, metavar="N", help="generated and used images of both (500 80 10000 100)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    return parser.parse_args(argv)


def made(work: Path, level: str, folder: Path | None, sizes: Mapping[str, tuple[int, int]]) -> tuple[Path, Path]:
    """The two benchmarks of a level, written where they are missing.

    Raises:
        SystemExit: they cannot be made; the reason has been printed.
    """
    dev, test = (work / f"{level}-{part}" for part in ("dev", "test"))
    for part, out, further in (("dev", dev, []), ("test", test, ["--exclude", str(dev / "truth_real.csv")])):
        generated, each = (str(size) for size in sizes[part])
        options = ["--generated", generated, "--used", each, "--unused", each, "--seed", SEEDS[part], *LEVELS[level], *further]
        options += ["--from", str(folder)] if folder else []
        if not (out / "truth_real.csv").exists():
            print(f"making {out}", file=sys.stderr)
            maker = Path(__file__).parents[1] / "make_benchmark.py"
            run = subprocess.run([sys.executable, maker, out, *options], stderr=subprocess.PIPE, text=True)
            if run.returncode:
                print(run.stderr.strip(), file=sys.stderr)
                raise SystemExit(2)
    return dev, test


def read_truth(benchmark: Path) -> Truth:
    """The truth of the real images; every used image counts as copied where the file does not say."""
    with open(benchmark / "truth_real.csv", newline="") as file:
        rows = list(read_rows(file))
    copied = frozenset(row["real"] for row in rows if row["used"] == "1" and int(row.get("descendants") or 1) > 0)
    used = {row["real"]: row["used"] == "1" for row in rows}
    return Truth(used, {row["real"]: row["group"] for row in rows}, copied)


def cases(dev: Path, test: Path, work: Path, same: bool) -> tuple[Case, Case, NDArray[np.int64]]:
    """The case to learn on, the one to judge, and the rows of the latter that are judged."""
    known, asked = read_truth(dev), read_truth(test)
    generated = [build(work / f"{folder.name}.generated", folder / "generated") for folder in (dev, test)]
    first = build(work / f"{dev.name}.real", dev / "real", fitted_on=generated[0])
    learned = case_of(sides_of(first, generated[0]), labels_by_row(first.names, known.used), by_group(first, known.group))
    labels = {f"known/{name}": used for name, used in known.used.items() if same or not used}
    shown = {f"asked/{name}": test / "real" / name for name in asked.used}
    shown |= {name: dev / "real" / name.removeprefix("known/") for name in labels}
    name = f"{test.name}.{'labelled' if same else 'reference'}"
    second = build(work / f"{name}.real", linked(shown, work / f"{name}.shown"), fitted_on=generated[1])
    group = {f"asked/{name}": group for name, group in asked.group.items()}
    group |= {f"known/{name}": group for name, group in known.group.items()}
    judged = case_of(sides_of(second, generated[1]), labels_by_row(second.names, labels), by_group(second, group))
    rows = np.array([row for row, name in enumerate(second.names) if name.startswith("asked/")])
    return learned, judged, rows


def by_group(real: Collection, group: Mapping[str, str]) -> NDArray[Any]:
    return np.array([group[name] for name in real.names])


def linked(files: Mapping[str, Path], folder: Path) -> Path:
    """A folder with links of these names to files."""
    for name, file in files.items():
        path = folder / name
        make_folder(path.parent)
        if not path.is_symlink():
            path.symlink_to(file.resolve())
    return folder


def judged_by(names: Sequence[str], learned: Case, asked: Case, same: bool) -> tuple[dict[str, Prediction], dict[str, float]]:
    """What each method says, and the seconds it took."""
    found: dict[str, Prediction] = {}
    seconds = {}
    terms = PredictionSettings(draws=DRAWS)
    for name in names:
        begun = time.perf_counter()
        method = make_method(name)
        of_labels = method.needs is Needs.LABELS and not (same and name == "fusion-learned")
        given = method.fit(learned) if of_labels or name == "phash-calibrated" else None
        found[name] = cross_fit(method, asked, terms, given)
        seconds[name] = time.perf_counter() - begun
        print(f"{name}: {seconds[name]:.0f} s", file=sys.stderr)
    return found, seconds


def figures(
    each: Prediction, truth: Truth, names: Sequence[str], rows: NDArray[np.int64], groups: NDArray[Any]
) -> dict[str, Any]:
    """All figures of one method on the judged images; one that it cannot tell counts as not used, and as its lowest value."""
    assert all(each.role[row] is Role.UNLABELLED for row in rows)
    asked = [names[row].removeprefix("asked/") for row in rows]
    used, copied = np.array([truth.used[name] for name in asked]), np.array([name in truth.copied for name in asked])
    value, note, where = values_of(each)[rows], np.array([answer is True for answer in each.used])[rows], groups[rows]
    intervals = measure_intervals(note, used, where)
    area = auroc_interval(value, used, where)
    p = permutation_p_values(value, note, used, where)
    rates = {f"tpr at {asked:.0%}": true_rate(value, used, where, asked).true.value for asked in RATES}
    some = copied | ~used
    found: dict[str, Any] = {
        "accuracy": of(intervals[Measure.ACCURACY]),
        "f1": of(intervals[Measure.F1]),
        "auroc": of(area),
        "p": p[AUROC],
        "copied_auroc": auroc(value[some], used[some]) if copied.any() else None,
        **rates,
        "counts": {name: int(np.asarray(count)) for name, count in vars(counts(note, used)).items()},
        "calibrated": each.calibrated,
        "note": each.note,
    }
    if each.facts["primary"]:
        called = np.array([decision in ("used", "patient used") for decision in each.decision])[rows]
        found["predicted_used"], found["false_among_them"] = int(called.sum()), int((called & ~used).sum())
    return found


def values_of(each: Prediction) -> NDArray[np.float64]:
    lowest = np.nanmin(each.value) if np.isfinite(each.value).any() else 0.0
    return np.where(np.isnan(each.value), lowest, each.value)


def of(interval: Any) -> list[float]:
    return [interval.value, interval.low, interval.high]


def ahead(found: Mapping[str, Prediction], used: NDArray[np.bool_], rows: NDArray[np.int64], groups: NDArray[Any]) -> Any:
    """How far the AUROC of the primary method is ahead of each other one, on the same images."""
    primary = found["fusion"]
    made = {}
    for name, other in found.items():
        pair = [values_of(each)[rows] for each in (primary, other)]
        note = [np.array([answer is True for answer in each.used])[rows] for each in (primary, other)]
        if name != "fusion":
            made[name] = of(paired_differences(pair, note, used, groups[rows])[AUROC])
    return made


def table(found: Mapping[str, Any], alone: Mapping[str, Any]) -> str:
    """Methods as rows, published figures beside ours; of `alone` the AUROCs."""
    with open(PUBLISHED, newline="") as file:
        published = {OF_PUBLISHED[row["name"]]: row for row in csv.DictReader(file)}
    lines = [
        "| method | published acc., F1 | accuracy | F1 | AUROC | reference alone | p | AUROC, copied | found at 1, 5, 10% false "
        "| fusion ahead |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, each in found["methods"].items():
        row = published.get(name)
        printed = f"{row['accuracy']}, {row['f1']}" if row else "-"
        rates = ", ".join(number(each[f"tpr at {asked:.0%}"]) for asked in RATES)
        lead = interval(found["ahead"][name]) if name in found["ahead"] else ""
        cells = [name, printed, interval(each["accuracy"]), interval(each["f1"]), interval(each["auroc"])]
        cells += [interval(alone["methods"][name]["auroc"]) if name in alone.get("methods", {}) else "-"]
        cells += [f"{each['p']:.4f}", number(each["copied_auroc"]), rates, lead]
        lines.append(f"| {' | '.join(cells)} |")
    base = found["all_used"]
    lines.append(f"| all used | - | {base[0]:.3f} | {base[1]:.3f} | 0.500 | | | | | |")
    return "\n".join(lines)


def interval(values: Sequence[float]) -> str:
    value, low, high = values
    return number(value) + (f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else "")


def number(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.3f}"


def measured(dev: Path, test: Path, work: Path, names: Sequence[str], same: bool) -> dict[str, Any]:
    """Everything about one pair of benchmarks."""
    learned, asked, rows = cases(dev, test, work, same)
    truth = read_truth(test)
    found, seconds = judged_by(names, learned, asked, same)
    by_name = {
        name: {**figures(each, truth, asked.real.names, rows, asked.groups), "seconds": round(seconds[name], 1)}
        for name, each in found.items()
    }
    share = float(np.mean(list(truth.used.values())))
    used = np.array([truth.used[asked.real.names[row].removeprefix("asked/")] for row in rows])
    leads = ahead(found, used, rows, asked.groups) if "fusion" in found else {}
    return {"methods": by_name, "ahead": leads, "all_used": [share, 2 * share / (1 + share)], "generated": len(asked.generated)}


def main(argv: Sequence[str] | None = None) -> int:
    given = arguments(argv)
    names = given.method or list(METHODS)
    sizes = dict(zip(SIZES, zip(given.sizes[::2], given.sizes[1::2], strict=True), strict=True)) if given.sizes else SIZES
    results = {}
    begun = time.perf_counter()
    try:
        make_folder(given.work)
        if given.pair:
            results["pair"] = measured(given.pair[0], given.pair[1], given.work, names, given.same_generator)
            of_reference = [name for name in names if make_method(name).needs is not Needs.LABELS]
            if given.same_generator and of_reference:
                results[ALONE] = measured(given.pair[0], given.pair[1], given.work, of_reference, False)
        else:
            for level in given.level or LEVELS:
                results[level] = measured(*made(given.work, level, given.folder, sizes), given.work, names, False)
    except (NoImages, CollectionError, MembershipError, OSError) as error:
        print(f"bench/membership.py: {error}", file=sys.stderr)
        return 2
    for level, found in results.items():
        alone = results.get(ALONE, {}) if level == "pair" else {}
        print(f"\n## {level}, {found['generated']:,} generated images\n\n{table(found, alone)}")
        if "fusion" in found["methods"] and "predicted_used" in found["methods"]["fusion"]:
            primary = found["methods"]["fusion"]
            print(f"\nfusion calls {primary['predicted_used']} used at q <= 0.1, {primary['false_among_them']} of them wrongly")
    print(f"\nall in {(time.perf_counter() - begun) / 60:.1f} min", file=sys.stderr)
    if given.json:
        write_results(given.json, results, list(argv) if argv is not None else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
