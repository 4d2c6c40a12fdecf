#!/usr/bin/env python3
"""Measure synthtrace beside what others have published, on the same images.

    bench/rivals.py --work DIR [--benchmark DIR ...] [--sample 400] [--images SLICES PREFIX ...]
                    [--fastdup PYTHON] [--only NAME ...] [--json FILE]

A benchmark is a folder of scripts/make_benchmark.py, of which so many generated images are drawn (seed 0); a PREFIX is a
generator whose training images are known, with files as bench/generators.py has them. For each set and rival, with 95% intervals
by patients:

  first hit   benchmarks: share of the generated images with a visible source whose nearest real image is one; of equally near
              ones a random one counts
  auroc       of real images, used against not used, by minus the distance to the nearest generated image; membership methods have
              a value of their own. Of a generator part test is judged
  found       share of the used images above all but 1% and 5% of the unused ones
  called      share of the used and of the unused images that are called used by the rival's own rule, where it has one
  seconds     of processor time, training included, decoding not; for synthtrace's methods indexing both sides is given apart

Rivals that compare pictures are told nothing. The membership methods `fusion` and S2 to S6 are told which images of part dev were
not used, those marked "used shown" also which were. Rivals are in rival_methods/, one family a file. What needs a package that
is not there gets a row that says so.

Exit codes: 0 done, 2 bad input.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common.command import Parser
from generators import FALSE, VIEWS, ends_of, found_at, read
from numpy.typing import NDArray
from result_file import write_results
from rival_methods.dar import Dar
from rival_methods.deepssim import DeepSsim
from rival_methods.fastdup import FastDup
from rival_methods.hashes import HASHES, ImageDedup
from rival_methods.rival import Compared, NotInstalledError, Pictures, Rival
from rival_methods.semdedup import SemDeDup
from rival_methods.structure import Ssim
from sources import Truth, firsts, read_truth

from embeddings.errors import SynthtraceError
from embeddings.files.writing import make_folder
from indexer.build.build import Settings, build
from indexer.search import brute_force
from query.comparison.combined import COMBINED
from query.comparison.comparison import Comparison
from query.comparison.matching import Budget, MatchSettings, match
from query.comparison.search import K, search
from query.evaluation.ranking import auroc_interval
from query.evaluation.resampling import grouped_proportion
from query.inputs.groups import Groups
from query.inputs.images import Images, images_of
from query.inputs.sides import Sides
from query.membership.case import NOT_USED, UNKNOWN, USED, Case
from query.membership.cross_fit import PredictionSettings, cross_fit
from query.membership.decisions import Decision
from query.membership.methods.phash import BITS
from query.membership.methods.registry import make_method

SIZE = 256  # pixels of the pictures that rivals are shown
SEED = 0  # of the draw of generated images, and among equally near ones
SHOWN = ", used shown"
MEMBERSHIP: Mapping[str, str] = {  # row -> method
    "fusion": "fusion",
    f"fusion{SHOWN}": "fusion",
    f"S2 CNN{SHOWN}": "cnn",
    f"S3 SIFT + KNN{SHOWN}": "sift-knn",
    f"S4 relation network{SHOWN}": "relation",
    f"S5 ResNet + clustering{SHOWN}": "clusters",
    f"S6 ResNet + SVM{SHOWN}": "svm",
}
OURS = ("combined", "matched")
S1 = "S1 pHash map"
RIVALS: Sequence[Rival] = (*map(ImageDedup, HASHES), Ssim(), SemDeDup(), Dar(), DeepSsim())

Bools = NDArray[np.bool_]
Row = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """A set of images that all rivals are judged on.

    Attributes:
        name: of the benchmark or generator.
        real, generated: the images.
        used: (nr,) whether each was trained on.
        groups: (nr,) patients.
        asked: (nr,) those that are judged.
        shown: (nr,) used images that methods may be told of; they are real images in no other row.
        reference: (nr,) images known not to be used.
        siblings: (nr,) held back.
        truth: of a benchmark.
        drawn: rows of the truth that the generated images are.
    """

    name: str
    real: Images
    generated: Images
    used: Bools
    groups: NDArray[np.str_]
    asked: Bools
    shown: Bools
    reference: Bools
    siblings: Bools
    truth: Truth | None = None
    drawn: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Of the real images, without those that only some methods are told of."""
        return np.flatnonzero(~self.shown)

    @cached_property
    def pictures(self) -> tuple[Pictures, Pictures]:
        """Real ones of `rows` and generated ones, (n, SIZE, SIZE)."""
        return _pictures(self.real.take(self.rows)), _pictures(self.generated)

    @cached_property
    def sides(self) -> Sides:
        """The same as they were indexed."""
        return Sides(self.real.take(self.rows) if self.shown.any() else self.real, self.generated)

    def case(self, with_used: bool) -> tuple[Case, NDArray[np.int64]]:
        """What a membership method is told, and the rows of its images."""
        rows = np.arange(len(self.used)) if with_used else self.rows
        labels = np.where(self.reference, NOT_USED, np.where(self.shown, USED, UNKNOWN)).astype(np.int8)[rows]
        return Case(self.real.take(rows), self.generated, labels, self.groups[rows], siblings=self.siblings[rows]), rows


def _pictures(images: Images) -> Pictures:
    large = [images.read(row) for row in range(len(images))]
    return np.array([cv2.resize(each, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for each in large], np.uint8)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="bench/rivals.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", type=Path, nargs="*", metavar="PREFIX", help="files of a generator, without .npz")
    parser.add_argument("--benchmark", type=Path, action="append", default=[], metavar="DIR", help="repeat it for several")
    parser.add_argument("--sample", type=int, default=400, metavar="N", help="generated images drawn of a benchmark")
    parser.add_argument("--images", type=Path, metavar="SLICES", help="folder of the generators' real files")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="for pictures and collections")
    parser.add_argument("--fastdup", type=Path, metavar="PYTHON", help="Python of an environment that has fastdup")
    parser.add_argument("--only", action="append", metavar="NAME", help="these rivals; repeat it for several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    given = parser.parse_args(argv)
    if given.prefix and not given.images:
        parser.error("a PREFIX needs --images, the folder of the real files")
    for path in [*given.benchmark, *(prefix.with_suffix(".npz") for prefix in given.prefix)]:
        if not path.exists():
            parser.error(f"{path}: no such file or folder")
    return given


def of_benchmark(folder: Path, sample: int, work: Path) -> Judged:
    """A draw of a benchmark's generated images, and all its real ones."""
    truth = read_truth(folder)
    names = sorted(path.name for path in (folder / "generated").iterdir())
    drawn = np.sort(np.random.default_rng(SEED).permutation(len(names))[:sample])
    make_folder(work)
    make_folder(work / folder.name)
    files = [folder / "generated" / names[row] for row in drawn]
    generated = build(work / folder.name / "generated", *files, settings=Settings({view: {} for view in VIEWS}))
    real = build(work / folder.name / "real", folder / "real", fitted_on=generated)
    if [Path(name).name for name in generated.names] != [path.name for path in files]:
        raise SynthtraceError(f"{folder}: images that cannot be read; make the benchmark anew")
    everybody, nobody = np.ones(len(truth.used), bool), np.zeros(len(truth.used), bool)
    images = images_of(real), images_of(generated)
    return Judged(folder.name, *images, truth.used, truth.real_groups, everybody, nobody, nobody, nobody, truth, drawn)


def of_generator(prefix: Path, images: Path, work: Path) -> Judged:
    """A generator as bench/generators.py has it."""
    made = read(prefix, images, work)
    siblings, dev = made.part == "siblings", made.part == "dev"
    roles = made.part == "test", dev & made.used, dev & ~made.used, siblings
    return Judged(prefix.name, made.real, made.generated, made.used, made.groups, *roles)


def seconds() -> float:
    """Processor time of this process and of those that it waited for."""
    return float(sum(os.times()[:4]))


def judged_by_distance(chosen: Judged, found: Compared) -> Row:
    """What a matrix of distances is worth."""
    asked, nearest = chosen.asked[chosen.rows], found.distances.min(axis=1)
    called = None if found.limit is None else nearest[asked] <= found.limit
    row = judged_by_value(chosen, -nearest[asked].astype(np.float64), called)
    if chosen.truth is not None:
        order = np.random.default_rng(SEED).permutation(len(found.distances))
        first = np.where(np.isfinite(found.distances.min(axis=0)), order[found.distances[order].argmin(axis=0)], -1)
        row |= first_hits(chosen.truth, chosen.drawn, first)
    return row


def first_hits(truth: Truth, drawn: NDArray[np.int64], first: NDArray[np.int64]) -> Row:
    """Share of first hits that are sources, of all images with a visible one and of each kind; -1 where nothing is hit."""
    right = np.array([hit in truth.sources[row] for row, hit in zip(drawn, first, strict=True)], bool)
    kinds = {name: counted[drawn] for name, counted in [("all", truth.visible), *truth.rows()]}
    shares = {
        name: ends_of(grouped_proportion(right[counted], truth.groups[drawn][counted]))
        for name, counted in kinds.items()
        if counted.any()
    }
    return {"first hit": shares.pop("all"), "first hit by kind": shares}


def judged_by_value(chosen: Judged, value: NDArray[np.float64], called: Bools | None) -> Row:
    """What a value of each real image that is asked for is worth; one that is unknown is the lowest."""
    used, groups = chosen.used[chosen.asked], chosen.groups[chosen.asked]
    known = np.isfinite(value)
    value = np.where(known, value, value[known].min(initial=0.0) - 1)
    row: Row = {
        "auroc": ends_of(auroc_interval(value, used, groups)),
        "found": {f"{rate}": found_at(value, used, groups, rate) for rate in FALSE},
    }
    if called is not None:
        row["called"] = [ends_of(grouped_proportion(called[side], groups[side])) for side in (used, ~used)]
    return row


def by_membership(chosen: Judged, name: str, with_used: bool) -> Row:
    """A membership method; what it calls used is known where there is a reference."""
    case, rows = chosen.case(with_used)
    method = make_method(name)
    asked = chosen.asked[rows]
    if not len(case.reference):  # a method that learns nothing can be ranked by all the same
        return judged_by_value(chosen, method.answer(case, method.fit(case)).value[asked], None)
    if name == "fusion":
        found = cross_fit(method, case, PredictionSettings())
        called = np.array([decision in (Decision.USED, Decision.PATIENT_USED) for decision in found.decision])
        return judged_by_value(chosen, found.value[asked], called[asked])
    answer = method.answer(case, method.fit(case))
    return judged_by_value(chosen, answer.value[asked], np.array([said is True for said in answer.used])[asked])


def by_views(chosen: Judged, name: str) -> Row:
    """Synthtrace's own nearest neighbours."""
    found = search(chosen.sides, distances=True)
    apart = found[COMBINED].distances
    assert apart is not None
    if name == COMBINED:
        return judged_by_distance(chosen, Compared(apart))
    assert chosen.truth is not None
    groups, rows = Groups(chosen.truth.real_groups, True), np.arange(len(chosen.drawn))
    matched = firsts(match(Comparison(chosen.sides, K, None, found), groups, MatchSettings(Budget()), rows=rows), 1)
    first = np.array([matched.get(row, [-1])[0] for row in rows.tolist()])
    return first_hits(chosen.truth, chosen.drawn, first)


def by_hash(chosen: Judged) -> Row:
    """S1: the map of view `phash`."""
    real, generated = chosen.sides.real, chosen.generated
    apart = brute_force.distances(generated.specs["phash"].metric, real.vectors["phash"], generated.vectors["phash"])
    return judged_by_distance(chosen, Compared(np.asarray(apart, np.float32), BITS))


def measured(chosen: Judged, rivals: Sequence[Rival], only: Sequence[str] | None) -> Iterator[tuple[str, Row]]:
    """Each rival's row."""
    methods = (row for row in MEMBERSHIP if row == "fusion" or chosen.shown.any())
    names = [*methods, COMBINED, *(["matched"] if chosen.truth else []), S1]
    by_name = {rival.name: rival for rival in rivals}
    _ = chosen.pictures  # decoded once, for all
    for name in [name for name in (*names, *by_name) if only is None or name in only]:
        begun = seconds()
        try:
            if name in MEMBERSHIP:
                row = by_membership(chosen, MEMBERSHIP[name], name.endswith(SHOWN))
            elif name in OURS:
                row = by_views(chosen, name)
            elif name == S1:
                row = by_hash(chosen)
            else:
                row = judged_by_distance(chosen, by_name[name].compare(*chosen.pictures, chosen.groups[chosen.rows]))
        except NotInstalledError as error:
            row = {"not installed": str(error)}
        yield name, {**row, "seconds": round(seconds() - begun, 1)}


def told(name: str, row: Row) -> str:
    """A line of the table of one set."""
    if "not installed" in row:
        return f"| {name} | not installed: {row['not installed']} | | | | | |"
    one, five = (_share(row["found"][f"{rate}"]) if "found" in row else "-" for rate in FALSE)
    called = ", ".join(f"{side[0]:.2f}" for side in row["called"]) if "called" in row else "-"
    cells = [name, _share(row.get("first hit")), _share(row.get("auroc")), one, five, called, f"{row['seconds']:.1f}"]
    return f"| {' | '.join(cells)} |"


def _share(ends: Sequence[float | None] | None) -> str:
    if ends is None or ends[0] is None:
        return "-"
    low, high = (float("nan") if end is None else end for end in ends[1:])
    return f"{ends[0]:.3f} ({low:.2f}-{high:.2f})"


HEAD = "| | first hit | AUROC | found at 1% false | at 5% | called: used, unused | seconds |\n|---|---|---|---|---|---|---|"


def main(argv: Sequence[str] | None = None) -> int:
    """Command-line entry."""
    given = arguments(argv)
    rivals = (*RIVALS, FastDup(given.fastdup))
    results: dict[str, dict[str, Any]] = {}
    begun = seconds()
    try:
        for path in [*given.benchmark, *given.prefix]:
            before = seconds()
            if path in given.benchmark:
                chosen = of_benchmark(path, given.sample, given.work)
            else:
                chosen = of_generator(path, given.images, given.work)
            indexed = round(seconds() - before, 1)
            counts = {"used": int(chosen.used[chosen.asked].sum()), "not used": int((~chosen.used[chosen.asked]).sum())}
            facts = {"generated": len(chosen.generated), "images": counts, "reference": int(chosen.reference.sum())}
            results[chosen.name] = {**facts, "used shown": int(chosen.shown.sum()), "seconds to index": indexed, "rivals": {}}
            print(f"\n## {chosen.name}: {facts}, indexed in {indexed} s\n\n{HEAD}", flush=True)
            for name, row in measured(chosen, rivals, given.only):
                results[chosen.name]["rivals"][name] = row
                print(told(name, row), flush=True)
            if given.json:  # after each set, since a run takes long
                write_results(given.json, results)
    except (SynthtraceError, OSError) as error:
        print(f"bench/rivals.py: {error}", file=sys.stderr)
        return 2
    print(f"\nall in {(seconds() - begun) / 60:.1f} min of processor time", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
