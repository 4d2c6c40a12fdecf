#!/usr/bin/env python3
"""Measure work over shards: equality with one collection, overhead of Ray, matching, recall, a million images, a scan of codes.

--equal FOLDER      `real`, `generated` and `truth_real.csv` of a benchmark (scripts/make_benchmark.py). The generated images are
                    indexed in one piece and in shards, both are compared with the real ones, the 100 most suspicious images are
                    matched, methods predict, copies are found, the filter decides, the predictions are evaluated, and all of
                    it is recorded: every table of the database must be the same, sums within 1e-6.
--overhead          the collections of the `--work` folder compared on Ray and in this process, in turn: medians of ratios.
--matching N        the N most suspicious images of these collections matched by one thread, by threads, and on Ray, in turn; what
                    is found must be the same to the byte.
--recall FOLDER     shards of a benchmark's generated images, with indexes whose centroids are trained once, on the sample that
                    the views were fitted on; queries are its real images. Share of the nearest 1 and 10 that are found over all
                    shards, as the indexes rank them and as the stored vectors do; one as near as the last counts. Intervals by
                    bootstrap of the real images' groups.
--simulated         drawn vectors in four views, a part of 10,000 for each shard: memory, and the exponent of time by shards.
--codes             drawn codes in shards against 200 queries: the 50 nearest of each, the number of pairs at each distance and
                    their moments, against the rate at which the same threads count bits of a block in the cache. Both are
                    rates by processor time, drawing apart, so that other work on the machine changes little.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from common.command import Parser, run
from common.drawn import VIEWS, drawn, status, watched
from result_file import write_results

from embeddings.pipeline import use_cores, workers
from embeddings.types import Metric
from indexer.collection import Collection
from indexer.execution.executor import Executor
from indexer.execution.in_process import InProcess
from indexer.execution.on_ray import OnRay
from indexer.open import index
from indexer.search import brute_force, faiss_index, hamming
from indexer.search.merging import merge_in_order
from indexer.sharded.build import Sharding, index_shards
from indexer.sharded.joined import Joined, open_joined
from indexer.types import IndexSpec, Neighbours
from query.comparison.all_pairs import Wanted, all_pairs
from query.comparison.comparison import compare
from query.comparison.copies import find_copies
from query.comparison.matching import Budget, Matches, MatchSettings, match
from query.comparison.parts import InParts
from query.comparison.reductions.sides import GeneratedVectors, RealVectors, Shard
from query.comparison.search import By
from query.database.evaluation import evaluate
from query.database.record import Results, record
from query.database.record_evaluation import record_evaluation
from query.database.store import MEMORY, Store
from query.evaluation.resampling import Estimate, grouped_interval
from query.inputs.groups import given_groups, group
from query.inputs.labels import labels_by_row
from query.inputs.sides import Sides, sides_of
from query.leakage.decision import decide_release
from query.membership.predict import PredictionRequest, case_of, chosen, predict_requested
from query.membership.proximity import planned

REALS = 200
NEAREST = 10  # of --recall
MATCHED = 100  # generated images, of --equal
SUMS = ("decisions", "patient_decisions", "set_tests", "methods", "metrics", "scores")  # tables that hold sums of floats
TABLES = """SELECT table_name FROM information_schema.tables JOIN information_schema.columns USING (table_name)
    WHERE table_type = 'BASE TABLE' AND column_name = 'run_id'"""
BLOCK = (50, 1024)  # queries and codes whose distances stay in the cache, as scripts/bench/search.py has them

Tables = Mapping[str, pa.Table]


# Equality


def indexed(folder: Path, work: Path, size: int) -> None:
    """Both sides in `work`, the generated one twice; what is there already stays."""
    one = index(folder / "generated", work / "one")
    index_shards(folder / "generated", work / "shards", sharding=Sharding(size))
    index(folder / "real", work / "real", fitted_on=one)


def known(work: Path, generated: str, truth: Path, executor: Executor | None) -> Tables:
    """All tables of a run; half of the real images are labelled."""
    sides = sides_of(Collection(work / "real"), open_joined(work / generated))
    with truth.open(encoding="utf-8") as file:
        used = {row["real"]: row["used"] == "1" for number, row in enumerate(csv.DictReader(file)) if number % 2}
    return recorded(sides, labels_by_row(sides.real.names, used), executor)


def recorded(sides: Sides, labels: Mapping[int, bool], executor: Executor | None) -> Tables:
    """All tables of a run of everything that looks at all pairs: comparison, predictions, copies."""
    groups = given_groups(None, sides.real)
    case = case_of(sides, labels, groups.of_row)
    methods = chosen((), {}, case)
    measures = planned(case, methods)
    comparison = compare(sides, also=measures.reductions, executor=executor)
    matches = match(comparison, groups, MatchSettings(Budget(images=MATCHED)), by=By(executor=executor))
    case.memory.update(measures.results())
    predictions = predict_requested(case, methods, PredictionRequest())
    copies = find_copies(comparison, groups.of_row, matches)
    release = decide_release(comparison, labels, groups.named)
    with Store.open(MEMORY) as store:
        run = record(store, Results(comparison, labels, groups.named, matches, predictions, release, copies))
        record_evaluation(store, evaluate(store, run=run))
        return {name: rows_of(store, name, run) for (name,) in (row.values() for row in store.sql(TABLES).to_pylist())}


def rows_of(store: Store, table: str, run: int) -> pa.Table:
    """The rows of a run, in an order of their own."""
    without = "run_id, created" if table == "runs" else "run_id"
    return store.sql(f'SELECT * EXCLUDE ({without}) FROM "{table}" WHERE run_id = $run ORDER BY ALL', {"run": run})


def difference(name: str, one: pa.Table, other: pa.Table) -> float:
    """0 where tables are equal to the byte; where they hold sums, the largest difference of a number; else infinite."""
    if one.equals(other):
        return 0.0
    if name not in SUMS or len(one) != len(other):
        return float("inf")
    apart = 0.0
    for column in one.column_names:
        first, second = one[column], other[column]
        if pa.types.is_floating(first.type):
            mine, theirs = (np.array(each.to_pylist(), np.float64) for each in (first, second))
            if not np.array_equal(np.isnan(mine), np.isnan(theirs)):
                return float("inf")
            apart = max(apart, float(np.nanmax(np.abs(mine - theirs), initial=0)))
        elif not first.equals(second) and column not in ("facts", "detail"):  # JSON of the same numbers
            return float("inf")
    return apart


def equality(folder: Path, work: Path, size: int, ray: bool) -> dict[str, Any]:
    """For each way over the shards: rows of each table, and how far it is from that of one collection."""
    indexed(folder, work, size)
    truth = folder / "truth_real.csv"
    expected = known(work, "one", truth, None)
    rows = {name: len(table) for name, table in expected.items()}
    apart: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        ways: dict[str, Executor | None] = {"one after the other": None, "threads": InProcess()}
        if ray:
            ways["ray"] = stack.enter_context(OnRay())
        for way, executor in ways.items():
            found = known(work, "shards", truth, executor)
            apart[way] = {name: difference(name, table, found[name]) for name, table in expected.items()}
            equal, largest = sum(each == 0 for each in apart[way].values()), max(apart[way].values())
            print(f"{way}: {equal} of {len(found)} tables equal to the byte, largest difference {largest:g}", flush=True)
    return {"shards": len(open_joined(work / "shards").parts), "rows": rows, "apart": apart}  # type: ignore[attr-defined]


# Overhead


def overhead(work: Path, repeats: int) -> dict[str, Any]:
    """Seconds of comparing the collections of a folder in this process, by its threads, and on Ray, in turn."""
    sides = sides_of(Collection(work / "real"), open_joined(work / "shards"))
    started = time.perf_counter()
    with OnRay() as ray:
        start = time.perf_counter() - started
        ways: dict[str, Executor | None] = {"one after the other": None, "threads": InProcess(), "ray": ray}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(repeats + 1):
            for way, executor in ways.items():
                started = time.perf_counter()
                compare(sides, executor=executor)
                if turn:  # in the first one libraries are loaded
                    seconds[way].append(time.perf_counter() - started)
    times = {way: np.array(values) for way, values in seconds.items()}
    ratios = {way: float(np.median(times["ray"] / times[way])) for way in times if way != "ray"}
    for way, ratio in ratios.items():
        print(f"{len(sides.generated):,} images on Ray: {ratio:.2f} times the seconds of this process, {way}", flush=True)
    return {"images": len(sides.generated), "start_of_ray": start, "seconds": seconds, "ray_against": ratios}


# Matching


def matching(work: Path, count: int, repeats: int) -> dict[str, Any]:
    """Seconds of matching so many images by one thread, by all threads, and on Ray, in turn."""
    sides = sides_of(Collection(work / "real"), open_joined(work / "shards"))
    comparison, groups, settings = compare(sides), group(None, sides.real), MatchSettings(Budget(images=count))
    with OnRay() as ray:
        ways: dict[str, tuple[int, Executor]] = {"one thread": (1, InProcess()), "threads": (workers(), InProcess())}
        ways["ray"] = workers(), ray
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        found: list[Matches] = []
        for turn in range(repeats + 1):
            for way, (cores, executor) in ways.items():
                started = time.perf_counter()
                with use_cores(cores):
                    found.append(match(comparison, groups, settings, by=By(executor=executor)))
                if turn:  # in the first one libraries are loaded
                    seconds[way].append(time.perf_counter() - started)
                if bytes_of(found[-1]) != bytes_of(found[0]):
                    raise SystemExit(f"{way}: the answer is another one")
    times = {way: np.array(values) for way, values in seconds.items()}
    ratios = {way: float(np.median(times[way] / times["one thread"])) for way in times}
    for way, ratio in ratios.items():
        print(f"{count:,} images, {way}: {np.median(times[way]):.2f} s, {ratio:.2f} times the seconds of one thread", flush=True)
    return {
        "images": count,
        "real": len(sides.real),
        "pairs": len(found[0].real),
        "seconds": seconds,
        "against_one_thread": ratios,
    }


def bytes_of(found: Matches) -> bytes:
    """All that matching says of pairs."""
    columns: list[Any] = [found.real, found.generated, found.values, found.distances, found.reference.values]
    columns += [value for match in found.shown.values() for value in vars(match).values()]
    return b"".join(np.asarray(each).tobytes() for each in columns)


# Recall


def recall(folder: Path, work: Path, size: int, factories: Sequence[str]) -> dict[str, Any]:
    """For each view and kind of index: recall over shards, and bytes of an image in the index."""
    shards = index_shards(folder / "generated", work / "shards", sharding=Sharding(size))
    real, joined = index(folder / "real", work / "real", fitted_on=shards.fitted), Joined(shards)
    with (folder / "truth_real.csv").open(encoding="utf-8") as file:
        of = {row["real"]: row["group"] for row in csv.DictReader(file)}
    groups, rows = [of[name] for name in real.names], []
    for view in (view for view in joined.views if joined.spec(view).metric is Metric.COSINE):
        queries, stored = real.vectors(view), np.asarray(joined.vectors(view))
        truth = brute_force.neighbours(Metric.COSINE, queries, stored, NEAREST)
        for factory in factories:
            how = IndexSpec(factory=factory)
            trained = faiss_index.build(joined.spec(view), shards.fitted.vectors(view), how)
            built = [faiss_index.build(joined.spec(view), each.vectors(view), how, trained) for each in joined.pieces()]
            plain = [faiss_index.search(each, Metric.COSINE, queries, NEAREST) for each in built]
            ranked = [
                faiss_index.search_ranked(each, Metric.COSINE, queries, piece.vectors(view), NEAREST)
                for each, piece in zip(built, joined.pieces(), strict=True)
            ]
            row: dict[str, Any] = {"view": view, "dim": stored.shape[1], "factory": factory, "shards": len(built)}
            for name, parts in (("as the indexes rank", plain), ("ranked by stored vectors", ranked)):
                near = merge_in_order(parts, joined.offsets, NEAREST)
                row[name] = {f"recall@{k}": recall_at(k, near, truth, stored, queries, groups).as_dict() for k in (1, NEAREST)}
                told = ", ".join(f"{at} {each['value']:.3f}" for at, each in row[name].items())
                print(f"{view} {factory}, {name}: {told}", flush=True)
            rows.append(row)
    return {"images": len(joined), "queries": len(real), "trained_on": len(shards.fitted), "indexes": rows}


def recall_at(k: int, near: Neighbours, truth: Neighbours, stored: Any, queries: Any, groups: Sequence[str]) -> Estimate:
    """The mean share of each query's k nearest that are among the first k found."""
    found = near.rows[:, :k]
    apart = np.where(found < 0, np.inf, brute_force.paired_distances(Metric.COSINE, queries, stored[found]))
    share = (apart <= truth.distances[:, k - 1 : k] + brute_force.ROUNDING).mean(axis=1)
    return grouped_interval(lambda rows: float(share[rows].mean()), groups)


# A million images


@dataclass(frozen=True)
class DrawnPart:
    """Vectors that are drawn when they are asked for."""

    first: int
    images: int

    def shards(self, views: Sequence[str]) -> Iterator[Shard]:
        """See `query.comparison.parts.Part`."""
        blank = np.zeros(self.images, bool)
        draws = {view: drawn(VIEWS[view], self.images, np.random.default_rng([1, self.first, len(view)])) for view in views}
        yield Shard(self.first, {view: GeneratedVectors(vectors, blank) for view, vectors in draws.items()})


def simulated(counts: Sequence[int], images: int, executor: Executor) -> dict[str, Any]:
    """Seconds and memory of comparing drawn shards with 200 drawn real images, and the exponent of the seconds."""
    blank = np.zeros(REALS, bool)
    reals = {view: RealVectors(spec, drawn(spec, REALS, np.random.default_rng(0)), None, blank) for view, spec in VIEWS.items()}
    all_pairs(reals, InParts(executor, [DrawnPart(0, images)]), Wanted(50, 10, list(VIEWS)))  # loads libraries
    runs, before = [], status("RssAnon")
    for count in counts:
        parts = [DrawnPart(number * images, images) for number in range(count)]
        wanted = Wanted(50, 10, list(VIEWS))  # as many of each generated image as of a million
        started = time.perf_counter(), time.process_time()
        with watched() as anonymous:
            found = all_pairs(reals, InParts(executor, parts), wanted)
        seconds, processor = time.perf_counter() - started[0], time.process_time() - started[1]
        if any(histogram.counts.sum() != REALS * count * images for histogram in found.histograms.values()):
            raise SystemExit("pairs were lost")
        spent = {"seconds": seconds, "seconds_of_processor": processor}
        runs.append({"shards": count, "images": count * images, **spent, "before": before, "anonymous": anonymous[0]})
        told = f"{seconds:.1f} s ({processor:.1f} s of the processor), {anonymous[0] / 1e9:.2f} GB"
        print(f"{count} shards, {count * images:,} images: {told}", flush=True)
        del found
    clocks = ("seconds", "seconds_of_processor")
    exponents = {clock: exponent(counts, [each[clock] for each in runs]) for clock in clocks if len(runs) > 1}
    print(f"exponents of time by shards: {exponents}", flush=True)
    return {"real": REALS, "executor": executor.note, "runs": runs, "exponents": exponents}


def exponent(counts: Sequence[int], seconds: Sequence[float]) -> float:
    """Of the power of the counts that fits the seconds best."""
    return float(np.polyfit(np.log(counts), np.log(seconds), 1)[0])


# Codes


def scanned(queries: Any, images: int, numbers: Sequence[int]) -> tuple[Any, Any, dict[str, float]]:
    """Keys of the nearest and counts of the pairs of some shards; seconds of this thread's processor time, by their use."""
    faiss.omp_set_num_threads(1)  # of this thread
    counts = hamming.Counts(np.zeros(queries.shape[1] * 8 + 1, np.int64))
    halves = np.array_split(queries, 2)
    scans = [hamming.Scan(half, 50, counts) for half in halves]
    seconds = dict.fromkeys(("drawing", "scanning", "reference"), 0.0)
    for number in numbers:
        marks = [time.thread_time()]
        codes = np.random.default_rng([2, number]).integers(0, 256, (images, queries.shape[1]), np.uint8)
        marks.append(time.thread_time())
        for scan in scans:
            scan.add(codes, number * images)
        counts.finish()
        marks.append(time.thread_time())
        in_cache(queries, codes)
        marks.append(time.thread_time())
        for name, spent in zip(seconds, np.diff(marks), strict=True):
            seconds[name] += float(spent)
    return np.concatenate([scan.keys() for scan in scans]), counts.at, seconds


def in_cache(queries: Any, codes: Any) -> None:
    """A tenth as many pairs, all of one block that stays in the cache, and nothing done with their distances."""
    block, some = np.ascontiguousarray(queries[: BLOCK[0]]), np.ascontiguousarray(codes[: BLOCK[1]])
    out = np.empty(BLOCK, np.int32)
    where = [faiss.swig_ptr(array) for array in (block, some, out)]
    for _ in range(len(queries) * len(codes) // 10 // out.size):
        faiss.hammings(where[0], where[1], *BLOCK, queries.shape[1], where[2])  # type: ignore[attr-defined]  # SWIG makes it


def codes(shards: int, images: int, executor: Executor) -> dict[str, Any]:
    """The rate of a scan of drawn codes against that in the cache, and what it finds."""
    queries = np.random.default_rng(0).integers(0, 256, (REALS, 32), np.uint8)
    groups = [range(start, min(start + 250, shards)) for start in range(0, shards, 250)]
    keys, counts, seconds = [], np.zeros(257, np.int64), dict.fromkeys(("drawing", "scanning", "reference"), 0.0)
    for own, counted, spent in executor.map(partial(scanned, queries, images), groups):
        keys.append(own)
        counts += counted
        seconds = {name: seconds[name] + value for name, value in spent.items()}
    nearest = np.sort(np.concatenate(keys, axis=1), axis=1)[:, :50] >> 40
    pairs, blocks = REALS * shards * images, REALS * images // 10 // (BLOCK[0] * BLOCK[1]) * BLOCK[0] * BLOCK[1] * shards
    if counts.sum() != pairs:
        raise SystemExit("pairs were lost")
    rate, limit = pairs / seconds["scanning"], blocks / seconds["reference"]
    bits = np.arange(257)
    mean = float((counts * bits).sum() / pairs)
    deviation = float(np.sqrt((counts * (bits - mean) ** 2).sum() / pairs))
    print(f"{shards * images:,} codes: {rate / 1e9:.2f} billion pairs a second and core, {rate / limit:.0%} of the cache")
    print(f"mean {mean:.4f}, deviation {deviation:.4f} (128 and 8 expected), fiftieth at {nearest[:, -1].mean():.1f} bits")
    return {
        "codes": shards * images,
        "shards": shards,
        "executor": executor.note,
        "seconds_of_processor": seconds,
        "pairs_a_second_and_core": rate,
        "in_cache": limit,
        "share": rate / limit,
        "mean": mean,
        "deviation": deviation,
    }


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--equal", type=Path, metavar="FOLDER")
    parser.add_argument("--overhead", action="store_true", help="of the collections in --work")
    parser.add_argument("--matching", type=int, metavar="N", help="of the collections in --work")
    parser.add_argument("--recall", type=Path, metavar="FOLDER")
    parser.add_argument("--factory", nargs="+", default=["IVF64,PQ16;nprobe=8"], help="of --recall  [default: %(default)s]")
    parser.add_argument("--simulated", type=int, nargs="+", metavar="SHARDS", help="for example 10 30 100")
    parser.add_argument("--codes", type=int, metavar="SHARDS", help="for example 1000")
    parser.add_argument("--work", type=Path, help="folder for collections; they stay there")
    parser.add_argument("--size", type=int, default=1000, help="images in a shard of --equal, --recall  [default: %(default)s]")
    parser.add_argument("--images", type=int, help="in a simulated shard  [default: 10,000, of codes 100,000]")
    parser.add_argument("--repeats", type=int, default=5, help="turns of --overhead, --matching  [default: %(default)s]")
    parser.add_argument("--ray", action="store_true", help="do it on Ray, --equal on Ray too")
    parser.add_argument("--json", type=Path, help="write what was measured there")
    asked = parser.parse_args()
    if (asked.equal or asked.overhead or asked.matching or asked.recall) and asked.work is None:
        parser.error("--equal, --overhead, --matching and --recall need a folder for collections: --work")
    figures: dict[str, Any] = {}
    if asked.equal:
        figures["equal"] = equality(asked.equal, asked.work, asked.size, asked.ray)
    if asked.overhead:
        figures["overhead"] = overhead(asked.work, asked.repeats)
    if asked.recall:
        figures["recall"] = recall(asked.recall, asked.work, asked.size, asked.factory)
    if asked.matching:
        figures["matching"] = matching(asked.work, asked.matching, asked.repeats)
    if asked.simulated or asked.codes:
        with OnRay() if asked.ray else InProcess() as executor:
            if asked.simulated:
                figures["simulated"] = simulated(asked.simulated, asked.images or 10_000, executor)
            if asked.codes:
                figures["codes"] = codes(asked.codes, asked.images or 100_000, executor)
    if asked.json:
        write_results(asked.json, figures)
    else:
        print(json.dumps(figures)[:2000])


if __name__ == "__main__":
    run(Path(sys.argv[0]).name, main)
