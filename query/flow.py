"""The audit, step by step: index, compare, match, predict, record, report, all into one folder.

OUT/generated/ real/ mirrored/   collections: what makes the next audit of these images quick
OUT/synthtrace.duckdb            the run; `synthtrace sql --db` asks it
OUT/csv/ plots/ pairs/           tables and pictures
OUT/models/                      fitted methods
OUT/evaluation/                  accuracy of the methods, where images of both kinds are known
OUT/report.html report.json      what a person reads, and the same figures for a program
OUT/summary.txt                  what is printed
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import full_disk_named, write_text
from embeddings.images.decoding import flip
from embeddings.images.errors import ImageError
from embeddings.images.find import find, paths_of
from indexer.build.build import Progress, Settings, build, silent
from indexer.files import LOCK, locked
from indexer.manifest import CollectionError, make_folder
from query.comparison.combined import COMBINED
from query.comparison.matching import CANDIDATES, Budget, match_run
from query.comparison.matching import DEFAULT as MATCH_BUDGET
from query.comparison.matching import keep as keep_matches
from query.comparison.search import K, ViewResult
from query.database.evaluation import evaluate, write_files
from query.database.labelled_predictions import EvaluationError
from query.database.record import query
from query.database.store import Store, write_table
from query.inputs.groups import Given, Groups, group, read_groups
from query.inputs.labels import read_labels
from query.inputs.pictures import Pictures
from query.inputs.sides import Sides
from query.membership.models import seen_beside
from query.membership.predict import (
    PredictionRequest,
    Predictions,
    case_of,
    chosen,
    keep,
    labels_of_folders,
    predict,
    predict_where_able,
    save_models,
)
from query.report.run_summary import gather, labelled, rows
from query.report.text.evaluation import ranked
from query.report.text.predictions import predictions_lines
from query.report.text.summary import caveats, summary
from query.report.text.units import unit
from query.report.writing import write_report
from query.text import plain

PAIRS = 12  # pictures of closest pairs
JUDGED = 10_000  # real images; more are judged only by methods that were asked for: they compare real images with each other
DATABASE = "synthtrace.duckdb"
REPORT = "report.html"
CALLED = 3  # images called used that the summary lists
Say = Callable[[str], None]
_Compared = dict[str, Any] | None  # facts of pairs compared closely; None where that was not asked for


def quiet(line: str) -> None:
    """Messages that nobody reads."""


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        out: the folder with everything.
        run: number of the run in its database.
        summary: text for a person, as in summary.txt.
        failed: files that could not be read, of both roles.
        findings: generated images within the caller's threshold, None without one.
        facts: the numbers behind the summary.
    """

    out: Path
    run: int
    summary: str
    failed: int
    findings: int | None
    facts: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: out, run, k, mirror, distances, counts, views, shared, closest_pairs, most_copied, agreement, verified,
        threshold, groups, labels, decisions, evaluation, caveats, files; see `query.report.run_summary`,
        `query.comparison.matching`, `query.membership.predict` and `query.database.evaluation`."""
        return dict(plain(self.facts))


def audit(
    real: Sequence[str | Path],
    generated: Sequence[str | Path],
    out: Path,
    *,
    settings: Settings | None = None,
    labels: Path | None = None,
    groups: str | None = None,
    asked: PredictionRequest | None = None,
    mirror: bool = False,
    threshold: int | None = None,
    match_budget: Budget = MATCH_BUDGET,
    candidates: int = CANDIDATES,
    rotations: bool = False,
    k: int = K,
    device: str = "auto",
    progress: Progress = silent,
    say: Say = quiet,
) -> Audit:
    """Compare real with generated images in every way there is, and write all of it into `out`.

    The same command again looks only at images that came or changed, and gives the same results.

    Args:
        real, generated: what `embeddings.images.find.find` takes, but no list on standard input.
        out: new, empty, or of an earlier audit.
        settings: of the views and indexes, see `indexer.build.build.build`.
        labels: CSV of image,used for some of the real images.
        groups: CSV of image,group, or a regular expression on names, see `query.inputs.groups`; without it, near-duplicates.
        asked: which methods judge the real images, and folders of further ones that are known; None for those that can.
        mirror: compare flipped real images as well.
        threshold: bits of phash within which a generated image counts as a finding; nothing calibrates it.
        match_budget: how many generated images are compared closely with what the views propose, see `query.comparison.matching`.
        candidates, rotations: see `query.comparison.matching.match_run`.
        k: neighbours kept.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        progress: called with stage, done, total.
        say: receives what happens, line by line.

    Raises:
        ValueError: `out` lies inside the images, a list is to come from standard input, or the threshold has no view or no sense.
        LabelsError, GroupsError: the files of labels or groups cannot be used.
        MembershipError: a method that was asked for cannot judge these images.
        CollectionError, NoImages, Locked, FullDisk, NoGpu, IndexProblem, WeightsError: see `indexer.build.build.build`.
        StoreError: the database cannot be written.
    """
    wanted, real = asked or PredictionRequest(), [*real, *(asked.folders if asked else [])]
    _check(real, generated, out)
    _check_threshold(threshold, settings.views if settings else None)
    labelled_images = read_labels(labels) if labels else {}
    grouping = read_groups(groups) if groups is not None else None
    claim(out)
    with full_disk_named(out), locked(out):
        sides = _index(real, generated, out, settings, mirror, device, progress)
        _check_threshold(threshold, sides.generated.views)
        pictures = Pictures(sides.real, paths_of(real)), Pictures(sides.generated, paths_of(generated))
        judged = _judge(sides, pictures, grouping, labels_of_folders(sides.real, wanted, labelled_images), wanted, progress, say)
        used = sides.generated.devices(device)
        say(used.note)
        with _database(out) as store:
            closely: dict[str, Any] = {"candidates": candidates, "rotations": rotations, "progress": progress}
            compare = _compare(sides, pictures, judged.groups, say, match_budget, **closely)
            run, compared = _record(store, sides, judged, compare, k=k, device=used, progress=progress)
            say("writing tables, plots, pictures and the report")
            facts = gather(store, run, sides, groups=judged.groups if judged.known else None, threshold=threshold, pairs=PAIRS)
            facts |= {"matched": compared, "decisions": judged.facts}
            facts["evaluation"] = _evaluated(store, run, judged, out, say)
            facts["caveats"] = caveats(facts)
            with _replaced(out / "csv") as folder:
                _write_tables(store, run, folder)
            with _replaced(out / "plots") as folder:
                _write_plots(store, run, facts, folder)
            write_report(store, run, out / REPORT, database=out / DATABASE)
        with _replaced(out / "models") as folder:
            save_models(judged.decided, folder, seen_beside(out / "models"))
        with _replaced(out / "pairs") as folder:
            _write_pictures(facts["closest_pairs"], pictures, folder, say)
        if facts["evaluation"] is None:  # an earlier audit may have known more
            shutil.rmtree(out / "evaluation", ignore_errors=True)
        facts |= {"out": str(out), "files": _files(out)}
        write_text(out / "summary.txt", summary(facts))
    failed = sum(facts["counts"][role]["failed"] for role in ("real", "generated"))
    findings = None if threshold is None else int(facts["threshold"]["generated_images"])
    return Audit(out, run, summary(facts), failed, findings, facts)


def claim(out: Path) -> None:
    """Make `out`, or see that it is empty or of an earlier audit: its tables and pictures will be replaced.

    Raises:
        CollectionError: it is something else.
    """
    names = make_folder(out)
    if names and LOCK not in names:
        raise CollectionError(f"{out} is not empty and of no earlier audit (it holds {names[0]}); name a new folder")
    with locked(out):  # leaves the mark
        pass


def _check(real: Sequence[str | Path], generated: Sequence[str | Path], out: Path) -> None:
    """Refuse at once what would go wrong later."""
    for given in [os.fspath(path) for path in (*real, *generated)]:
        if given == "-":
            raise ValueError("an audit reads its lists more than once: write the list to a file and name it as @FILE")
        if os.path.isdir(given) and out.resolve().is_relative_to(Path(given).resolve()):
            raise ValueError(f"{out} lies inside {given}: the audit would index its own pictures; name an --out elsewhere")
    for side in (real, generated):
        find(*side)  # a mistyped folder must not be found out after an hour


def _check_threshold(threshold: int | None, views: Iterable[str] | None) -> None:
    """Refuse a threshold without sense, or without the view that it counts bits of, where the views are known."""
    if threshold is not None and threshold < 0:
        raise ValueError(f"the threshold must not be negative, got {threshold}")
    if threshold is not None and views is not None and "phash" not in views:
        raise ValueError(f"the threshold counts bits of view phash, but the views are {', '.join(views)}")


def _index(
    real: Sequence[str | Path],
    generated: Sequence[str | Path],
    out: Path,
    settings: Settings | None,
    mirror: bool,
    device: str,
    progress: Progress,
) -> Sides:
    """The collections, made or brought up to date."""

    def named(role: str) -> Progress:
        return lambda stage, done, total: progress(f"{role}: {stage}", done, total)

    fakes = build(out / "generated", *generated, settings=settings, device=device, progress=named("generated images"))
    plain = build(out / "real", *real, fitted_on=fakes, device=device, progress=named("real images"))
    flipped = None
    if mirror:
        stages = named("flipped real images")
        flipped = build(out / "mirrored", *real, fitted_on=fakes, mirrored=True, device=device, progress=stages)
    return Sides(plain, fakes, flipped)


# Judging


@dataclass(frozen=True)
class _Judged:
    """What is known of the real images, and what methods make of it.

    Attributes:
        known: name -> whether it was used.
        named: name -> group, for the database.
        groups: of each row.
        decided: by all methods that judge.
    """

    known: Mapping[str, bool]
    named: Mapping[str, str]
    groups: Groups
    decided: Predictions

    @property
    def facts(self) -> dict[str, Any]:
        """JSON-able: see `Predictions.as_dict`, and what to tell people of it."""
        note = "" if self.known else self.groups.note  # where labels are told of, so are groups
        return {**self.decided.as_dict(), "note": list(predictions_lines(self.decided, note, shown=CALLED))}


def _judge(
    sides: Sides,
    pictures: tuple[Pictures, Pictures],
    grouping: Given | None,
    known: Mapping[str, bool],
    asked: PredictionRequest,
    progress: Progress,
    say: Say,
) -> _Judged:
    """Let methods judge the real images: those asked for, or those that can."""
    if len(sides.real) > JUDGED and not asked.methods:
        left = f"more than {JUDGED:,} real images are judged only by methods that are asked for: name one by --method"
        alone = Groups(np.arange(len(sides.real)), False)
        groups = group(grouping, sides.real, pictures[0]) if known or grouping else alone
        return _Judged(known, groups.named, groups, Predictions(sides.real.names, [], [left]))
    say("judging real images")
    groups = group(grouping, sides.real, pictures[0])
    options: dict[str, Any] = {"mirrored": sides.mirrored, "pictures": pictures, "seed": asked.seed}
    case = case_of(sides.real, sides.generated, labels=known, groups=groups.of_row, **options)
    judges = chosen(asked.methods, {}, case)
    deciding = predict if asked.methods else predict_where_able
    return _Judged(known, groups.named, groups, deciding(case, judges, asked.terms(judges), progress=progress))


def _record(
    store: Store, sides: Sides, judged: _Judged, compare: Callable[[Store, Mapping[str, ViewResult]], _Compared], **options: Any
) -> tuple[int, _Compared]:
    """The search, the decisions and the compared pairs go into the database as one run: its number, and what comparing gave."""
    compared: _Compared = None

    def finish(number: int, found: Mapping[str, ViewResult]) -> None:
        nonlocal compared
        keep(store, judged.decided, len(sides.generated), number)
        compared = compare(store, found)

    about: dict[str, Any] = {"mirrored": sides.mirrored, "labels": judged.known, "groups": judged.named}
    run = query(store, sides.real, sides.generated, command="audit", finish=finish, **about, **options)
    return run, compared


def _compare(
    sides: Sides, pictures: tuple[Pictures, Pictures], groups: Groups, say: Say, budget: Budget, **options: Any
) -> Callable[[Store, Mapping[str, ViewResult]], _Compared]:
    """Compares closely what a search proposes, into the run that is being written, and gives its facts."""

    def compare(store: Store, found: Mapping[str, ViewResult]) -> _Compared:
        if budget.nothing:
            return None
        say(f"comparing pairs closely, {budget.note}")
        made = match_run(sides, pictures, found, groups, budget=budget, **options)
        keep_matches(store, made)
        return {**made.facts, "budget": budget.note}

    return compare


def _evaluated(store: Store, run: int, judged: _Judged, out: Path, say: Say) -> dict[str, Any] | None:
    """How well methods decide, where images of both kinds are known: into the database and the folder `evaluation`."""
    if len(set(judged.known.values())) < 2 or not judged.decided.methods:
        return None
    try:
        say("judging decisions by labels")
        found = evaluate(store, run=run)
    except EvaluationError as error:
        say(f"not evaluated: {error}")
        return None
    with _replaced(out / "evaluation") as folder:
        write_files(found, store, folder)
    return {**found.as_dict(), "note": ranked(found.methods).splitlines()}


# Writing


@contextmanager
def _database(out: Path) -> Iterator[Store]:
    """A new database that takes the place of the old one when all is in it."""
    with temporary_folder(out) as folder:
        with Store.open(folder / DATABASE) as store:
            yield store
        os.replace(folder / DATABASE, out / DATABASE)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of the old one when all is in it."""
    with temporary_folder(folder.parent) as temporary:
        unfinished = temporary / folder.name
        make_folder(unfinished)
        yield unfinished
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)


def _write_tables(store: Store, run: int, folder: Path) -> None:
    for name, role in (("source_map", "generated"), ("nearest_generated", "real")):
        write_table(store.sql(_side_by_side(store, run, role), {"run": run}), folder / f"{name}.csv")
    for name in ("scores", "decisions", "failures"):
        write_table(store.analyse(name, run=run), folder / f"{name}.csv")


def _side_by_side(store: Store, run: int, role: str) -> str:
    """SQL: one line for each image of a role, with its nearest of the other role by every view; none where a view is blank."""
    image, other, table = {
        "generated": ("generated_image", "source", "nearest_source"),
        "real": ("real_image", "generated_image", "nearest_generated"),
    }[role]
    views = rows(store, "SELECT view FROM run_views WHERE run_id = $run ORDER BY view", run)["view"]
    columns = ", ".join(
        f"""any_value(n.{other}) FILTER (n.view = '{view}' AND NOT n.blank) AS {view}_{other},
        any_value(n.distance) FILTER (n.view = '{view}' AND NOT n.blank) AS {view}_distance,
        any_value(n.mirrored) FILTER (n.view = '{view}' AND NOT n.blank) AS {view}_mirrored"""
        for view in views
    )
    known = ', any_value(membership(l.used)) AS membership, any_value(i."group") AS "group"' if role == "real" else ""
    return f"""SELECT i.name AS {image}{known}, {columns},
            coalesce(string_agg(n.view, ' ' ORDER BY n.view) FILTER (n.blank), '') AS blank_views
        FROM images AS i
        LEFT JOIN {table} AS n ON n.run_id = i.run_id AND n.{image} = i.name
        LEFT JOIN labels AS l ON l.run_id = i.run_id AND l.image_id = i.image_id
        WHERE i.run_id = $run AND i.role = '{role}'
        GROUP BY i.image_id, i.name ORDER BY i.image_id"""


def _write_plots(store: Store, run: int, facts: Mapping[str, Any], folder: Path) -> None:
    from query.report.figures.figures import Distances, distance_plots

    nearest = "SELECT view, distance FROM {} WHERE run_id = $run AND NOT blank"
    to_generated, to_real = (rows(store, nearest.format(table), run) for table in ("nearest_generated", "nearest_source"))
    labels = labelled(store, run)
    histograms = rows(store, "SELECT view, low, high, pairs FROM histograms WHERE run_id = $run ORDER BY view, low", run)
    shown = []
    for view, described in facts["views"].items():
        bins, known = histograms[histograms["view"] == view], labels[labels["view"] == view]
        real, generated = (found[found["view"] == view]["distance"].to_numpy() for found in (to_generated, to_real))
        parts = {"used": known["used"], "not used": ~known["used"]}
        shown.append(
            Distances(
                view,
                unit(view, described["metric"], described["dim"]),
                described["note"] if view != COMBINED else "",
                np.append(bins["low"], bins["high"].iloc[-1]),
                bins["pairs"].to_numpy(),
                real,
                generated,
                {name: known["d1"][part].to_numpy() for name, part in parts.items() if part.any()},
            )
        )
    distance_plots(folder, shown)


def _write_pictures(pairs: Sequence[Mapping[str, Any]], pictures: tuple[Pictures, Pictures], folder: Path, say: Say) -> None:
    from query.report.figures.figures import Pair, contact_sheet, pair_picture

    shown = []
    for number, pair in enumerate(pairs, 1):
        try:
            real, generated = (of.read(pair[f"{role}_row"]) for role, of in zip(("real", "generated"), pictures, strict=True))
        except ImageError as error:
            say(f"no picture of {pair['real']} and {pair['generated']}: {error}")
            continue
        name = f"{pair['real']} (flipped)" if pair["mirrored"] else pair["real"]
        image = flip(real) if pair["mirrored"] else real
        shown.append(Pair(name, pair["generated"], image, generated, pair["distances"]))
        pair_picture(folder / f"pair_{number:02d}.png", shown[-1], f"Closest pair {number} of {len(pairs)}")
    if shown:
        title = f"The {len(shown)} closest pairs, each real image once: real, generated, generated - real"
        contact_sheet(folder / "closest_pairs.png", shown, title)


def _files(out: Path) -> dict[str, list[str]]:
    """What was written, by kind."""
    found = {name: sorted(map(str, (out / name).glob("*"))) for name in ("csv", "plots", "pairs", "models", "evaluation")}
    report = [str(out / REPORT), str((out / REPORT).with_suffix(".json"))]
    return {"report": report, "summary": [str(out / "summary.txt")], "database": [str(out / DATABASE)], **found}
