"""The whole audit, one step below the other: prepare, index, compare, match, predict, record, report.

OUT/generated/ real/ mirrored/   collections: the next audit of these images takes less time; turned: real-ORIENTATION/
OUT/synthtrace.duckdb            the run; `synthtrace sql --db` asks it
OUT/csv/ plots/ pairs/           tables and figures
OUT/models/                      fitted methods
OUT/evaluation/                  accuracy of the methods, where images of both kinds are known
OUT/report.html report.json      what a person reads, and the same figures for a program
OUT/summary.txt details.txt      what is printed, on one page; and all of it
OUT/contamination.csv            images that stand on two sides, where the audit refused them or was told to go on
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import full_disk_named, write_text
from embeddings.images.find import Source, find, several
from embeddings.images.orientation import AUTO, Orientation
from indexer.build.build import Progress, Settings, build
from indexer.collection import IMAGES, Collection
from indexer.execution.executor import Executor
from indexer.execution.on_ray import on_ray
from indexer.files import LOCK, locked
from indexer.manifest import CollectionError, make_folder
from indexer.notebook import in_cells
from indexer.salt import Salt
from indexer.sharded.build import Sharding, index_shards
from indexer.sharded.joined import Joined
from query.comparison.comparison import Comparison, compare
from query.comparison.copies import find_copies
from query.comparison.matching import Matches, MatchSettings, match
from query.comparison.orientation import check_orientation
from query.comparison.search import By, K
from query.database.evaluation import Evaluation, evaluate
from query.database.labelled_predictions import EvaluationError
from query.database.parquet import ABOVE, replace_database
from query.database.record import Results, record
from query.database.record_evaluation import record_evaluation
from query.database.store import Store
from query.inputs.contamination import FILE, NearDuplicates, contamination_of_labels, unseen
from query.inputs.groups import Given, Groups, given_groups, group, groups_by_row, read_groups
from query.inputs.labels import labels_of_folders, read_labels
from query.inputs.patients import described
from query.inputs.seen import decoding_in, see_files
from query.inputs.sides import Sides, sides_of
from query.inputs.tables import AS_FOUND, TableForm
from query.leakage.decision import decide_release
from query.membership.case import Case, Method
from query.membership.models import seen_beside
from query.membership.predict import (
    PredictionRequest,
    Predictions,
    case_of,
    chosen,
    predict_requested,
    save_models,
)
from query.membership.proximity import planned
from query.membership.reference import with_checked_reference
from query.membership.reference_verdict import ReferenceVerdict
from query.quality.quality import Quality, measure_quality
from query.report.audit_summary import AuditSummary, MatchingSummary, pair_statistics
from query.report.evaluation import write_evaluation
from query.report.json_values import audit_values
from query.report.outputs import write_pictures, write_plots, write_tables
from query.report.text.summary import LINES, details, summary
from query.report.writing import reported, write_files
from query.text import many

PAIRS = 12  # pictures of closest pairs
UNASKED = 10_000  # real images; of more, only methods that were asked for predict: they compare real images with each other
DATABASE = "synthtrace.duckdb"
REPORT = "report.html"
Say = Callable[[str], None]


def quiet(line: str) -> None:
    """Messages that nobody reads."""


@dataclass(frozen=True)
class AuditSettings:
    """What an audit is asked for beyond its images.

    Attributes:
        index: views and indexes, see `indexer.build.build.build`.
        labels: CSV of image,used for some of the real images.
        all_used: instead, all real images were used, but for those of a folder of unused ones.
        groups: CSV of image,group, a regular expression on names, ``dicom`` or ``folder``, see `query.inputs.groups`; without it,
            near-duplicates.
        tables: how the files of labels and groups are written, where that is not to be found out.
        predictions: which methods predict, and folders of further labelled real images; by default those methods that can.
        mirror: compare flipped real images as well.
        orient: how real images are turned or flipped before they are compared, see `embeddings.images.orientation.Orientation`;
            ``auto``: as `query.comparison.orientation.check_orientation` finds.
        threshold: bits of phash within which a generated image counts as a finding; nothing calibrates it.
        matching: how many pairs are verified geometrically.
        k: neighbours recorded.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``.
        near_duplicates: ``refuse`` or ``warn``: of reference and other real images, see `query.inputs.contamination`.
        sharding: how generated images are indexed in shards; None for a collection in one piece.
        ray: ``local`` or HOST:PORT, where shards are made and generated images compared by tasks on Ray; None for this process.
        parquet_above: with more generated images, rows of each go to Parquet files, see `query.database.parquet`.
        quality: images of either side at most that fidelity, duplicates and diversity are measured on; 0 for none.
    """

    index: Settings | None = None
    labels: Path | None = None
    all_used: bool = False
    groups: str | None = None
    tables: TableForm = AS_FOUND
    predictions: PredictionRequest = field(default_factory=PredictionRequest)
    mirror: bool = False
    orient: str = Orientation.AS_IS
    threshold: int | None = None
    matching: MatchSettings = field(default_factory=MatchSettings)
    k: int = K
    device: str = "auto"
    near_duplicates: str = NearDuplicates.REFUSE
    sharding: Sharding | None = None
    ray: str | None = None
    parquet_above: int = ABOVE
    quality: int = 0


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        out: the folder with everything.
        failed: files that could not be read, of both sides.
        result: what is known of the run.
        files: what was written, by kind.
    """

    out: Path
    failed: int
    result: AuditSummary
    files: Mapping[str, Sequence[str]]

    @property
    def run(self) -> int:
        """Number of the run in its database."""
        return self.result.run.run.number

    @property
    def findings(self) -> int | None:
        """Generated images within the caller's threshold, None without one."""
        count = self.result.pairs.threshold
        return None if count is None else count.generated_images

    @property
    def summary(self) -> str:
        """Text for a person on one page, as in summary.txt."""
        return self._page(LINES)

    @property
    def details(self) -> str:
        """All of it, as in details.txt."""
        return details(self.result, self.out, self.out / DATABASE)

    def _page(self, lines: int) -> str:
        return summary(self.result, self.out, self.out / DATABASE, lines)

    def write_texts(self) -> None:
        """Write summary.txt and details.txt."""
        write_text(self.out / "summary.txt", self.summary)
        write_text(self.out / "details.txt", self.details)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: run, copies, memorisation, mirror, k, distances, counts, views, shared, closest_pairs, most_copied,
        agreement, threshold, groups, labels, matched, decisions, evaluation, caveats, out, files; see
        `query.report.audit_summary`, `query.membership.predict` and `query.database.evaluation`."""
        return audit_values(self.result, str(self.out), self.files)


@dataclass(frozen=True)
class Inputs:
    """What step prepare found before anything was computed.

    Attributes:
        real, generated: image files; real ones with those of `PredictionRequest.folders`.
        labels: name of a real image -> whether it was used, from the file of labels.
        grouping: gives the groups of names, None where nobody knows the patients.
    """

    real: Source
    generated: Source
    labels: Mapping[str, bool]
    grouping: Given | None


@dataclass(frozen=True)
class Known:
    """What is known of the indexed real images.

    Attributes:
        labels: row -> whether it was used.
        groups: patients, or near-duplicates.
    """

    labels: Mapping[int, bool]
    groups: Groups


def audit(
    real: str | Path | Sequence[str | Path],
    generated: str | Path | Sequence[str | Path],
    out: str | Path,
    settings: AuditSettings | None = None,
    *,
    progress: Progress = in_cells,
    say: Say = quiet,
) -> Audit:
    """Compare real with generated images in every way there is, and write all of it into `out`.

    The same command again looks only at images that came or changed, and gives the same results.

    Args:
        real, generated: what `embeddings.images.find.find` takes, but no list on standard input.
        out: new, empty, or of an earlier audit.
        settings: what else is asked for.
        progress: called with stage, done, total; by default a bar in notebooks.
        say: receives what happens, line by line.

    Raises:
        ValueError: `out` lies inside the images, a list is to come from standard input, labels are given twice, or the threshold
            has no view or no sense.
        LabelsError, GroupsError: the files of labels or groups cannot be used.
        ContaminationError: reference images are among the others; OUT/contamination.csv lists them.
        MembershipError: a method that was asked for cannot predict on these images, or the reference is of another kind.
        CollectionError, NoImages, Locked, FullDisk, NoGpu, IndexProblem, WeightsError: see `indexer.build.build.build`.
        ExecutionError: Ray is not installed or cannot be reached.
        StoreError: the database cannot be written.
    """
    settings, out = settings or AuditSettings(), Path(out)
    inputs = prepare(several(real), several(generated), out, settings)
    claim(out)
    with full_disk_named(out), locked(out), on_ray(settings.ray) as executor:
        near_duplicates = _check_reference(inputs, out, settings, progress)
        sides = _oriented(inputs, out, settings, executor, progress, say)
        _say_notes(sides, say)
        known = _known(sides, inputs, settings, say)
        case, methods = _case(sides, known, settings)
        case, reference = _checked(case, methods, settings, say)
        measures = planned(case, methods)
        device = sides.generated.stored.devices(settings.device)
        say(device.note)
        also = measures.reductions
        comparison = compare(sides, k=settings.k, device=device, also=also, executor=executor, progress=progress)
        predictions = _predict(replace(case, memory=measures.results()), methods, settings, progress).with_reference(reference)
        predictions = predictions.with_known(known.labels, known.groups.named)
        matches = _match(comparison, known.groups, settings, By(device, executor), progress, say)
        copies = find_copies(comparison, known.groups.of_row, matches, rotations=settings.matching.rotations, progress=progress)
        release = decide_release(comparison, known.labels, known.groups.named)
        quality = _quality(sides, known, settings, progress, say)
        with _new_database(out, settings.parquet_above) as store:
            named = known.groups.named
            results = Results(
                comparison, known.labels, named, matches, predictions, release, copies, near_duplicates, quality=quality
            )
            run = record(store, results, command="audit")
            say("writing tables, plots, pictures and the report")
            evaluation = _evaluate(store, run, known, predictions, say)
            report, pixels = reported(store, run, out / DATABASE)
            result = AuditSummary(
                run=report.summary,
                left_out={role: side.stored.left_out for role, side in (("generated", sides.generated), ("real", sides.real))},
                arrays={role: side.stored.arrays for role, side in (("generated", sides.generated), ("real", sides.real))},
                pairs=pair_statistics(store, report.summary, sides, settings.threshold, PAIRS),
                groups=known.groups,
                matching=MatchingSummary.of_matches(matches, settings.matching) if matches else None,
                predictions=predictions,
                evaluation=evaluation,
            )
            _write(store, result, out)
            write_files(report, pixels, out / REPORT)
        with _replaced(out / "models") as folder:
            save_models(predictions, folder, seen_beside(out / "models"))
        with _replaced(out / "pairs") as folder:
            write_pictures(result.pairs.closest_pairs, sides, folder, say)
        done = Audit(out, sides.failed, result, _files(out))
        done.write_texts()
        return done


# Prepare and index


def prepare(real: Sequence[str | Path], generated: Sequence[str | Path], out: Path, settings: AuditSettings) -> Inputs:
    """Read what is small, and refuse at once what would go wrong after an hour.

    Raises:
        ValueError, LabelsError, GroupsError, NoImages: see `audit`.
    """
    further = settings.predictions.folders
    for given in [os.fspath(path) for path in (*real, *further, *generated)]:
        if given == "-":
            raise ValueError("an audit reads its lists more than once: write the list to a file and name it as @FILE")
        if os.path.isdir(given) and out.resolve().is_relative_to(Path(given).resolve()):
            raise ValueError(f"{out} lies inside {given}: the audit would index its own pictures; name an --out elsewhere")
    if settings.labels and settings.all_used:
        raise ValueError("labels of some images and all of them used are two answers to one question: give one")
    sources = find(*real, further=further), find(*generated)
    _check_threshold(settings.threshold, settings.index.views if settings.index else None)
    if settings.quality < 0:
        raise ValueError(f"quality is measured on a number of images, 0 for none, got {settings.quality}")
    labels = read_labels(settings.labels, settings.tables) if settings.labels else {}
    grouping = read_groups(settings.groups, settings.tables) if settings.groups is not None else None
    return Inputs(*sources, labels, grouping)


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


def _check_threshold(threshold: int | None, views: Iterable[str] | None) -> None:
    """Refuse a threshold without sense, or without the view that it counts bits of, where the views are known."""
    if threshold is not None and threshold < 0:
        raise ValueError(f"the threshold must not be negative, got {threshold}")
    if threshold is not None and views is not None and "phash" not in views:
        raise ValueError(f"the threshold counts bits of view phash, but the views are {', '.join(views)}")


def _check_reference(inputs: Inputs, out: Path, settings: AuditSettings, progress: Progress) -> int:
    """Refuse a reference that holds images of the other sides, before anything is indexed; how many near-duplicates it has.

    Raises:
        ContaminationError, LabelsError, GroupsError: see `audit`.
    """
    request = settings.predictions
    if not (inputs.labels or request.unused):
        return 0
    decoding = decoding_in(out / "generated", settings.index)
    seen = see_files(inputs.real, decoding, Salt.random(), progress)
    labels = labels_of_folders(seen, inputs.labels, request.used, request.unused, settings.all_used)
    groups = groups_by_row(inputs.grouping, seen) if inputs.grouping else {}
    found = contamination_of_labels(seen, labels, groups, lambda: unseen(inputs.generated, decoding))
    return found.settled(settings.near_duplicates, out / FILE)


def index(inputs: Inputs, out: Path, settings: AuditSettings, executor: Executor | None, progress: Progress) -> Sides:
    """The collections in `out`, built or brought up to date; generated images first, the others are embedded as they are."""

    def built(folder: str, what: str, images: Source, **options: Any) -> Collection:
        def named(stage: str, done: int, total: int) -> None:
            progress(f"{what}: {stage}", done, total)

        return build(out / folder, images, device=settings.device, progress=named, **options)

    if settings.sharding is None:
        generated = built("generated", "generated images", inputs.generated, settings=settings.index)
    else:
        shards = index_shards(
            inputs.generated,
            out / "generated",
            sharding=settings.sharding,
            settings=settings.index,
            executor=executor,
            progress=progress,
        )
        generated = Joined(shards)
    _check_threshold(settings.threshold, generated.views)
    orientation = Orientation.AS_IS if settings.orient == AUTO else Orientation(settings.orient)
    turned = "" if orientation == Orientation.AS_IS else f"-{orientation}"
    how = Settings.of(generated.manifest, orientation)
    real = built(f"real{turned}", "real images", inputs.real, fitted_on=generated, settings=how)
    mirrored = None
    if settings.mirror:
        how = replace(how, orientation=orientation.then(Orientation.FLIP_LEFT_RIGHT))
        mirrored = built(f"mirrored{turned}", "flipped real images", inputs.real, fitted_on=generated, settings=how)
    return sides_of(real, generated, mirrored, real_paths=inputs.real.paths, generated_paths=inputs.generated.paths)


def _oriented(
    inputs: Inputs, out: Path, settings: AuditSettings, executor: Executor | None, progress: Progress, say: Say
) -> Sides:
    """Step index; again where one side is turned, and the audit is to turn it back by itself."""
    sides = index(inputs, out, settings, executor, progress)
    if settings.orient != AUTO:
        return sides
    say("checking whether one side is turned or flipped")
    check = check_orientation(sides)
    say(f"real images are compared under {check.found}" if check.turned else "real images are compared as they are")
    return index(inputs, out, replace(settings, orient=check.found), executor, progress) if check.turned else sides


# Predict and match


def _predicting(images: int, settings: AuditSettings) -> bool:
    """Whether methods predict: of very many real images only those that were asked for."""
    return images <= UNASKED or bool(settings.predictions.methods)


def _say_notes(sides: Sides, say: Say) -> None:
    """How many patients each side has, where files name them; how many files were read although something was wrong with them."""
    for role, collection in (("generated", sides.generated.stored), ("real", sides.real.stored)):
        if patients := described(collection.patients):
            say(f"{many(len(collection), f'{role} image')} of {patients}, by DICOM headers")
        if collection.notes:
            read = many(len(collection.notes), "file")
            say(f"{read} of {collection.manifest.source} read with a note; see column note of {collection.folder / IMAGES}")


def _known(sides: Sides, inputs: Inputs, settings: AuditSettings, say: Say) -> Known:
    """Labels of files and folders, and groups; without both, of very many real images, each is a group by itself."""
    used, unused = settings.predictions.used, settings.predictions.unused
    labels = labels_of_folders(sides.real, inputs.labels, used, unused, settings.all_used)
    if not (_predicting(len(sides.real), settings) or labels or inputs.grouping):
        return Known(labels, given_groups(None, sides.real))
    say("grouping real images")
    return Known(labels, group(inputs.grouping, sides.real))


def _case(sides: Sides, known: Known, settings: AuditSettings) -> tuple[Case, list[Method]]:
    """What is known of the images, and the methods that predict: those that were asked for, or those that can."""
    request = settings.predictions
    case = case_of(sides, known.labels, known.groups.of_row, request.seed, request.siblings)
    if not _predicting(len(sides.real), settings):
        return case, []
    methods = chosen(request.methods, {}, case)
    request.terms(methods)  # a primary method that does not predict is refused before anything is compared
    return case, methods


def _checked(case: Case, methods: Sequence[Method], settings: AuditSettings, say: Say) -> tuple[Case, ReferenceVerdict | None]:
    """The case and what the check of its reference found, before anything is compared; nothing where no method predicts."""
    if not methods:
        return case, None
    say("checking the reference")
    return with_checked_reference(case, settings.predictions.mismatch)


def _predict(case: Case, methods: Sequence[Method], settings: AuditSettings, progress: Progress) -> Predictions:
    """Step predict."""
    request = settings.predictions
    if not _predicting(len(case.real), settings):
        reason = f"more than {UNASKED:,} real images are predicted only by methods that are asked for: name one by --method"
        return Predictions(case.real.names, [], [reason])
    return predict_requested(case, methods, request, progress)


def _match(
    comparison: Comparison, groups: Groups, settings: AuditSettings, by: By, progress: Progress, say: Say
) -> Matches | None:
    """Step match, unless its budget is nothing."""
    if settings.matching.budget.nothing:
        return None
    say(f"matching pairs, {settings.matching.budget.note}")
    return match(comparison, groups, settings.matching, by=by, progress=progress)


def _quality(sides: Sides, known: Known, settings: AuditSettings, progress: Progress, say: Say) -> Quality | None:
    """How good the generated images are, where that was asked for."""
    if not settings.quality:
        return None
    say(f"measuring how good the generated images are, on at most {many(settings.quality, 'image')} of either side")
    seed = settings.predictions.seed
    return measure_quality(sides, known.groups, known.labels, settings.quality, seed=seed, progress=progress)


# Report


def _evaluate(store: Store, run: int, known: Known, predictions: Predictions, say: Say) -> Evaluation | None:
    """How well methods predict, where images of both kinds are known."""
    if len(set(known.labels.values())) < 2 or not predictions.methods:
        return None
    try:
        say("evaluating predictions against labels")
        evaluation = evaluate(store, run=run)
    except EvaluationError as error:
        say(f"not evaluated: {error}")
        return None
    record_evaluation(store, evaluation)
    return evaluation


def _write(store: Store, result: AuditSummary, out: Path) -> None:
    """Tables, plots and evaluation, each in place of the earlier one."""
    with _replaced(out / "csv") as folder:
        write_tables(store, result.run.run.number, folder)
    with _replaced(out / "plots") as folder:
        write_plots(result.run.views, folder)
    if result.evaluation is None:  # an earlier audit may have known more
        shutil.rmtree(out / "evaluation", ignore_errors=True)
    else:
        with _replaced(out / "evaluation") as folder:
            write_evaluation(result.evaluation, store, folder)


@contextmanager
def _new_database(out: Path, parquet_above: int) -> Iterator[Store]:
    """A new database that takes the place of the old one when all is in it."""
    with temporary_folder(out) as folder:
        with Store.open(folder / DATABASE, parquet_above=parquet_above) as store:
            yield store
        replace_database(folder / DATABASE, out / DATABASE)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of the old one when all is in it."""
    with temporary_folder(folder.parent) as temporary:
        unfinished = temporary / folder.name
        make_folder(unfinished)
        yield unfinished
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)


def _files(out: Path) -> dict[str, list[str]]:
    """What was written, by kind."""
    found = {name: sorted(map(str, (out / name).glob("*"))) for name in ("csv", "plots", "pairs", "models", "evaluation")}
    report = [str(out / REPORT), str((out / REPORT).with_suffix(".json"))]
    texts = [str(out / f"{name}.txt") for name in ("summary", "details")]
    return {
        "report": report,
        "summary": texts,
        "database": [str(out / DATABASE)],
        **found,
    }
