#!/usr/bin/env python3
"""Measure how often the true source of a generated image is found, on benchmarks (scripts/make_benchmark.py).

    bench/sources.py BENCHMARK... [--calibrate BENCHMARK] [--match N [--rotations] [--unknown-groups]] [--work DIR] [--mirror]
                     [--wrong 0.05] [--json FILE]

Prints for each benchmark, with 95% intervals from resampling whole groups of real images:

  first hit   share of generated images whose nearest real image is a source of theirs, by view, kind and strength; images whose
              sources are all hidden have none to be found and do not count. Where a kind's first named source is the one with the
              largest part ("first named"), also the share whose nearest is that one; where several sources lie beside or over
              each other ("all within 5"), also the share all of whose visible sources are among the five nearest
  sibling     where a source has group mates among the real images that are not sources themselves (`make_benchmark.py --siblings`
              makes such pairs on purpose): the share of generated images nearer to each source than to any of its mates;
              equally near is wrong
  AUROC       of d1, the distance of a real image to its nearest generated one: used against not used
  none        with --calibrate, where an image gets a source only when its score passes a threshold: the threshold is the one at
              which at most --wrong of the images without a visible source get one on the benchmark it is calibrated on, never
              on the one that is judged. Scores are d1 and the margin between the nearest and the second nearest.

With --match also what geometric matching adds (query/comparison/matching.py), for N generated images drawn at random:

  first hit     share whose first real image is of the group of a true source: by view `combined`, and ranked anew
  exactly       the same, the source itself
  all within 5  share for which the first five real images show the groups of all visible sources
  stands out    share with a pair above the threshold; where that is the right one ("rightly"). Of images without a visible source
                that should be about one in a hundred. The threshold comes from the benchmark's real images, never from its truth

and the processor time for a pair, everything included but the search of the views.

With several benchmarks also the mean over them, and whether `combined` is at least as good as the best view on every row.
The truth does not name hidden sources, so intervals of images without a visible one take each by itself: they are too narrow.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common.command import Parser, run
from numpy.typing import NDArray
from result_file import write_results

from embeddings.files.spreadsheet import read_rows
from embeddings.files.temporary import temporary_folder
from embeddings.images.orientation import Orientation
from indexer.build.build import Settings, build
from indexer.collection import Collection
from query.benchmarks.benchmark import Kind
from query.comparison.combined import COMBINED
from query.comparison.comparison import Comparison
from query.comparison.matching import MATCHED, Budget, Matches, MatchSettings, match
from query.comparison.scores import Score
from query.comparison.search import K, ViewResult, search
from query.evaluation.resampling import Estimate, auroc, grouped_interval, grouped_proportion
from query.inputs.groups import Groups
from query.inputs.sides import sides_of

SEED = 0  # of the draw of images that are matched
SCORES = (Score.D1, Score.MARGIN)
SEVERAL = (Kind.BLEND, Kind.REGIONS, Kind.THREE)  # kinds whose sources can all be seen
LARGEST_FIRST = (Kind.REGIONS, Kind.TEXTURE)


@dataclass(frozen=True)
class Truth:
    """What a benchmark's truth files say, in the order of the collections' rows.

    Attributes:
        sources: for each generated image the rows of its visible sources.
        first: (ng,) row of the source named first, -1 where it is hidden or there is none.
        kind: of each generated image.
        strength: of each generated image.
        groups: of each generated image, the group of its first visible source, else one of its own.
        used: (nr,) bool.
        real_groups: of each real image.
    """

    sources: list[list[int]]
    first: NDArray[np.int64]
    kind: NDArray[np.str_]
    strength: NDArray[np.int64]
    groups: NDArray[np.str_]
    used: NDArray[np.bool_]
    real_groups: NDArray[np.str_]

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Generated images that have a source among the real images."""
        return np.array([len(s) > 0 for s in self.sources], bool)

    def rows(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """The rows of the table: name and which generated images count."""
        made = []
        for kind in sorted(set(self.kind)):
            here = (self.kind == kind) & self.visible
            strengths = sorted(set(self.strength[here])) if kind == "warp" else []
            made += [(f"{kind} {s}", here & (self.strength == s)) for s in strengths]
            if not strengths and here.any():
                made.append((kind, here))
        return sorted(made, key=lambda row: (not row[0].startswith("warp"), row[0]))

    def mates(self) -> NDArray[np.int64]:
        """(3, n) rows of a generated image, of a source of it, and of a group mate of that which is no source of it."""
        members: dict[str, list[int]] = defaultdict(list)
        for row, group in enumerate(self.real_groups):
            members[group].append(row)
        found = [
            (i, source, mate)
            for i, own in enumerate(self.sources)
            for source in own
            for mate in members[self.real_groups[source]]
            if mate not in own
        ]
        return np.array(found, np.int64).reshape(-1, 3).T


def read_truth(benchmark: Path) -> Truth:
    """The truth files of a benchmark."""
    with open(benchmark / "truth_real.csv", newline="") as file:
        reals = sorted(read_rows(file), key=lambda row: row["real"])
    with open(benchmark / "truth_generated.csv", newline="") as file:
        generated = sorted(read_rows(file), key=lambda row: row["generated"])
    number = {row["real"]: i for i, row in enumerate(reals)}
    named = [[number.get(name, -1) for name in row["sources"].split("|")] for row in generated]
    sources = [[row for row in rows if row >= 0] for rows in named]
    first = np.array([rows[0] for rows in named], np.int64)
    real_groups = np.array([row["group"] for row in reals])
    groups = [real_groups[s[0]] if s else f"alone {i}" for i, s in enumerate(sources)]
    kind = np.array([row["kind"] for row in generated])
    strength = np.array([int(row["strength"]) for row in generated])
    used = np.array([row["used"] == "1" for row in reals])
    return Truth(sources, first, kind, strength, np.array(groups), used, real_groups)


@dataclass(frozen=True)
class Searched:
    """A benchmark after the search.

    Attributes:
        truth: what is to be found.
        found: by view.
        distances: by view (nr, ng) float32, infinite where one of both is blank in the view.
    """

    truth: Truth
    found: dict[str, ViewResult]
    distances: dict[str, NDArray[np.float32]]


def search_benchmark(benchmark: Path, work: Path, mirror: bool) -> Searched:
    """The search of a benchmark, its collections kept in the work folder."""

    def progress(stage: str, done: int, total: int) -> None:
        print(f"\r{benchmark.name}: {stage} {done}/{total}     ", end="", file=sys.stderr, flush=True)

    folder = work / benchmark.name
    generated = build(folder / "generated", benchmark / "generated", progress=progress)
    real = build(folder / "real", benchmark / "real", fitted_on=generated, progress=progress)
    flipped = None
    if mirror:
        how = Settings.of(generated.manifest, Orientation.FLIP_LEFT_RIGHT)
        flipped = build(folder / "mirrored", benchmark / "real", fitted_on=generated, settings=how, progress=progress)
    found = search(sides_of(real, generated, flipped), distances=True, progress=progress)
    distances = {view: result.distances for view, result in found.items() if result.distances is not None}
    print(file=sys.stderr)
    for view, result in found.items():
        distances[view][np.isnan(result.real_scores[Score.D1])] = np.inf
        distances[view][:, np.isnan(result.generated_scores[Score.D1])] = np.inf
    return Searched(read_truth(benchmark), found, distances)


Cell = tuple[float, float, float]  # value, low, high
Table = dict[str, dict[str, Cell]]  # row -> view -> cell


def cell(interval: Estimate) -> Cell:
    """What a table shows of an interval."""
    return interval.value, interval.low, interval.high


Row = tuple[str, NDArray[np.bool_], NDArray[np.bool_]]  # name, what is right, what counts; both of generated images


def first_right(truth: Truth, result: ViewResult) -> NDArray[np.bool_]:
    """Generated images whose nearest real image is a source of theirs."""
    return np.array([row in own for row, own in zip(result.generated.rows[:, 0], truth.sources, strict=True)], bool)


def rows_of_sources(truth: Truth, result: ViewResult) -> list[Row]:
    """The rows that tell which sources were found."""
    nearest = result.generated.rows
    right = first_right(truth, result)
    every = np.array([set(own) <= set(near) for own, near in zip(truth.sources, nearest[:, :5].tolist(), strict=True)], bool)
    made: list[Row] = []
    for name, counted in truth.rows():
        made.append((name, right, counted))
        if name in SEVERAL:
            made.append((f"{name}, all within 5", every, counted))
        if name in LARGEST_FIRST and (counted & (truth.first >= 0)).any():
            made.append((f"{name}, first named", nearest[:, 0] == truth.first, counted & (truth.first >= 0)))
    return made


def rows_of_siblings(truth: Truth, distances: NDArray[np.float32]) -> list[Row]:
    """The rows that tell whether sources come before their group mates."""
    generated, source, mate = truth.mates()
    before = np.ones(len(truth.sources), bool)
    np.logical_and.at(before, generated, distances[source, generated] < distances[mate, generated])
    has_mate = np.isin(np.arange(len(before)), generated)
    return [(f"{name}, source before its sibling", before, counted & has_mate) for name, counted in truth.rows()]


def first_hits(searched: Searched) -> Table:
    """Share of first hits that are right, what else is asked of sources, and the AUROC of d1."""
    truth = searched.truth
    table: Table = {}
    for view, result in searched.found.items():
        for name, right, counted in rows_of_sources(truth, result) + rows_of_siblings(truth, searched.distances[view]):
            if counted.any():
                table.setdefault(name, {})[view] = cell(grouped_proportion(right[counted], truth.groups[counted]))
        d1 = -result.real_scores[Score.D1]
        d1 = np.nan_to_num(d1, nan=float(np.nanmin(d1)) - 1)  # blank in this view: least evidence of all
        table.setdefault("AUROC of d1", {})[view] = cell(used_interval(d1, truth))
    return table


def used_interval(scores: NDArray[np.float64], truth: Truth) -> Estimate:
    """AUROC of scores of the real images, larger = more likely used."""
    return grouped_interval(lambda rows: auroc(scores[rows], truth.used[rows]), truth.real_groups)


def evidence(result: ViewResult, score: Score) -> NDArray[np.float64]:
    """The score of each generated image, larger = more evidence of a source; unknown = none."""
    values = result.generated_scores[score]
    return np.nan_to_num(values if score is Score.MARGIN else -values, nan=-np.inf)


def none_table(searched: Searched, calibration: Searched, wrong: float) -> Table:
    """Wrong sources and kept copies at thresholds from the other benchmark."""
    truth, found = searched.truth, searched.found
    table: Table = {}
    sets = {
        "hidden sources given one": ~truth.visible & (truth.kind != "eigen"),
        "eigen given a source": truth.kind == "eigen",
        "copies 1 to 3 that keep theirs": truth.visible & (truth.kind == "warp") & (truth.strength <= 3),
    }
    for score in SCORES:
        for view, result in found.items():
            without = evidence(calibration.found[view], score)[~calibration.truth.visible]
            threshold = np.quantile(without, 1 - wrong, method="higher")
            given = evidence(result, score) > threshold
            right = first_right(truth, result)
            for name, counted in sets.items():
                if counted.any():
                    hits = (given & right if name.startswith("copies") else given)[counted]
                    table.setdefault(f"{score}: {name}", {})[view] = cell(grouped_proportion(hits, truth.groups[counted]))
    return table


def show(title: str, table: Table) -> None:
    """Print a table, one row a line."""
    if not table:  # no image without a source, and none of the kinds it asks for
        return
    views = list(next(iter(table.values())))
    print(f"\n{title}\n{'':42s}" + "".join(f"{view:>22s}" for view in views))
    for name, cells in table.items():
        print(f"{name:42s}" + "".join(f"{cells[v][0]:8.3f} [{cells[v][1]:.3f},{cells[v][2]:.3f}]" for v in views))


def show_mean(tables: Sequence[Table]) -> None:
    """The mean over benchmarks, and where the combination is below the best view."""
    rows = [name for name in tables[0] if all(name in table for table in tables)]
    views = list(next(iter(tables[0].values())))
    print(f"\nmean over {len(tables)} benchmarks\n{'':42s}" + "".join(f"{view:>10s}" for view in views))
    below = []
    for name in rows:
        means = {view: float(np.mean([table[name][view][0] for table in tables])) for view in views}
        print(f"{name:42s}" + "".join(f"{means[view]:10.4f}" for view in views))
        if means[COMBINED] < max(means.values()) - 1e-9:
            below.append(name)
    print(f"combined is below the best view on: {'; '.join(below)}" if below else "combined is nowhere below the best view")


def matched(searched: Searched, folder: Path, args: argparse.Namespace) -> tuple[Matches, float]:
    """The matches of the benchmark's pairs, and seconds of processor time for each."""
    mirrored = Collection(folder / "mirrored") if args.mirror else None
    sides = sides_of(Collection(folder / "real"), Collection(folder / "generated"), mirrored)
    rows = np.random.default_rng(SEED).permutation(len(sides.generated))[: args.match]
    truth = searched.truth
    groups = Groups(np.arange(len(truth.used)) if args.unknown_groups else truth.real_groups, not args.unknown_groups)

    def progress(stage: str, done: int, total: int) -> None:
        print(f"\r{stage} {done}/{total}     ", end="", file=sys.stderr, flush=True)

    started = time.process_time()
    settings = MatchSettings(Budget(), rotations=args.rotations)
    found = match(Comparison(sides, K, None, searched.found), groups, settings, rows=rows, progress=progress)
    print(file=sys.stderr)
    controls = len(found.reference.values) * len(found.values) / max(1, found.looked)  # their pairs are not in the result
    return found, (time.process_time() - started) / (len(found.values) + controls)


def firsts(found: Matches, count: int) -> dict[int, list[int]]:
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


def standing_out(truth: Truth, found: Matches, looked: NDArray[np.int64]) -> Table:
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


def show_matches(searched: Searched, folder: Path, args: argparse.Namespace) -> dict[str, Table]:
    """Match pairs of a benchmark, print what that adds, and give the tables."""
    found, seconds = matched(searched, folder, args)
    looked = np.unique(found.generated)
    nearest = searched.found[COMBINED].generated.rows
    ranks = {COMBINED: {int(row): nearest[row, :5].tolist() for row in looked}, MATCHED: firsts(found, 5)}
    tables = {"ranked anew": ranked(searched.truth, ranks, looked), "standing out": standing_out(searched.truth, found, looked)}
    for title, table in tables.items():
        show(f"{folder.name}: {title}", table)
    print(found.reference.note)
    print(f"{len(looked)} images, {len(found.values)} pairs, {1000 * seconds:.1f} ms of one core a pair")
    return tables


def main() -> None:
    """Judge every benchmark named on the command line."""
    parser = Parser(prog="bench/sources.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", type=Path, nargs="+")
    parser.add_argument("--calibrate", type=Path)
    parser.add_argument("--work", type=Path, help="folder for the collections, kept; default a temporary one")
    parser.add_argument("--match", type=int, metavar="N", help="match so many generated images geometrically")
    parser.add_argument("--rotations", action="store_true", help="look for copies by quarter turns then")
    parser.add_argument("--unknown-groups", action="store_true", help="as if nobody knew then which slices are of one patient")
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--wrong", type=float, default=0.05)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with temporary_folder() as temporary:
        work = args.work or Path(temporary)
        calibration = search_benchmark(args.calibrate, work, args.mirror) if args.calibrate else None
        tables = []
        report: dict[str, dict[str, Table]] = {}
        for benchmark in args.benchmarks:
            searched = search_benchmark(benchmark, work, args.mirror)
            tables.append(first_hits(searched))
            report[benchmark.name] = {"first hits": tables[-1]}
            show(f"{benchmark.name}: first hit right", tables[-1])
            if calibration:
                nones = none_table(searched, calibration, args.wrong)
                report[benchmark.name]["none"] = nones
                show(f"{benchmark.name}: at thresholds calibrated on {args.calibrate.name} (wrong at most {args.wrong})", nones)
            if args.match:
                report[benchmark.name] |= show_matches(searched, work / benchmark.name, args)
        if len(tables) > 1:
            show_mean(tables)
    if args.json:
        write_results(args.json, report)


if __name__ == "__main__":
    run("bench/sources.py", main)
