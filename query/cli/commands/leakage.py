"""Commands `leakage`, `filter` and `fidelity`, for generator owners: measure leakage, withhold copies, measure quality."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import make_folder
from query.cli.options import (
    common_options,
    device_option,
    groups_option,
    json_option,
    near_duplicates_option,
    network_options,
    seed_option,
    settings_of,
)
from query.cli.parameters import DATABASE, FOLDER, NewFile, command, option, together
from query.cli.program import exit_code, list_failures, list_notes, show, working
from query.cli.progress import Reporter
from query.leakage.primary import PRIMARIES
from query.leakage.risk import RISK
from query.text import many

if TYPE_CHECKING:
    from embeddings.images.find import Source
    from indexer import Settings
    from indexer.collection import Collection
    from query.database.store import Store
    from query.inputs.contamination import Contamination
    from query.inputs.groups import Given
    from query.leakage.filter import Release


@command("leakage")
@click.argument("training")
@click.argument("hold_out", metavar="HOLD_OUT")
@click.argument("generated", nargs=-1, required=True, metavar="GENERATED...")
@option("--out", type=FOLDER, help="New folder for a report: HTML, JSON, CSV, of several generated sets a figure.")
@option("--db", type=DATABASE, help="Store a run for each generated set in this DuckDB file.")
@option(
    "--primary",
    type=click.Choice(PRIMARIES),
    metavar="FIGURE",
    help=f"Figure of the combined view that decides between sets, named beforehand: {', '.join(PRIMARIES)}.  "
    f"[default: {PRIMARIES[0]}]",
)
@together(groups_option, near_duplicates_option)
@option("--work", type=FOLDER, help="Keep the collections in this folder, to reuse them.")
@seed_option
@together(device_option, json_option, common_options)
def leakage_command(
    training: str,
    hold_out: str,
    generated: tuple[str, ...],
    out: Path | None,
    db: Path | None,
    primary: str | None,
    groups: str | None,
    delimiter: str | None,
    encoding: str | None,
    near_duplicates: str,
    work: Path | None,
    seed: int,
    device: str,
    as_json: bool,
) -> int:
    """Measure training-data leakage, for generator owners.

    Leakage is how much nearer generated images are to training images than to hold-out images, which were not used in training.
    Each argument is a folder of images or a collection. Training and hold-out images must not share patients: use --groups.
    Patients are compared, whatever their numbers of images.

    Several generated sets, such as two checkpoints, are held against the first: differences of every figure with intervals, at
    equal numbers of generated images. NAME=FOLDER names a set; without it the folder does.

    \b
    Example:
      synthtrace leakage training/ held-out/ generated/ --groups '^patient\\d+'
      synthtrace leakage training/ held-out/ A=epoch50/ B=epoch90/ --groups '^patient\\d+' --db results.duckdb --out report
    """
    from query.inputs.groups import read_groups
    from query.inputs.tables import TableForm

    grouping = read_groups(groups, TableForm(delimiter, encoding)) if groups else None
    asked = LeakageRequest(training, hold_out, generated, grouping, near_duplicates, seed, device)
    output = SetsOutput(work, db, out, primary or PRIMARIES[0])
    output.check()
    if len(generated) > 1:
        return _compare_sets(asked, output, as_json)
    if primary:
        raise click.UsageError("--primary is for several generated sets: name two or more")
    return _measure(asked, output, as_json)


@dataclass(frozen=True)
class LeakageRequest:
    """What `leakage` is asked for; see its help."""

    training: str
    hold_out: str
    generated: tuple[str, ...]
    grouping: "Given | None"
    near_duplicates: str
    seed: int
    device: str


@dataclass(frozen=True)
class SetsOutput:
    """Where what is said of the sets goes, and the figure that decides between several."""

    work: Path | None
    db: Path | None
    out: Path | None
    primary: str

    @property
    def kept(self) -> Path | None:
        """What the names of collections begin with; None where they go away with the command."""
        return self.work / "leakage" if self.work else self.db and self.db.with_suffix("")

    def check(self) -> None:
        """Find mistakes before anything is indexed.

        Raises:
            LeakageError: the folder of the report is not empty.
            StoreError: the database cannot be written.
        """
        from query.cli.inputs import check_database
        from query.leakage.filter import check_new

        if self.out:
            check_new(self.out)
        if self.db:
            check_database(self.db)

    @contextmanager
    def base(self) -> Iterator[Path]:
        """What the names of collections begin with, for as long as they are needed."""
        with _folder(self.kept.parent if self.kept else None) as folder:
            yield self.kept or folder / "leakage"

    def store(self) -> "AbstractContextManager[Store | None]":
        """The database, open for writing; None without one."""
        from query.database.store import Store

        return Store.open(self.db) if self.db else nullcontext()


def _measure(asked: LeakageRequest, output: SetsOutput, as_json: bool) -> int:
    """The figures of one set."""
    from query.cli.inputs import named_as_given
    from query.cli.output.attacks import attacks_text
    from query.cli.output.fidelity import fidelity_text
    from query.cli.output.leakage import leakage_sentence, leakage_table
    from query.cli.sets import named_sets, with_copies
    from query.comparison.combined import COMBINED
    from query.inputs.contamination import FILE
    from query.leakage.attacks import attacks
    from query.leakage.draws import whole
    from query.leakage.leakage import LeakageSets, grouped, leakage, views_of
    from query.leakage.sets import LeakageOfSets
    from query.quality.estimate import FidelitySettings
    from query.quality.fidelity import RealSides, if_possible, measured
    from query.report.sets import write_sets_report

    ((name, path),) = named_sets(asked.generated).items()
    paths, kept = {"generated": path, "training": asked.training, "hold_out": asked.hold_out}, output.kept
    with working() as report, output.base() as base, named_as_given({} if kept else _places(base, paths)):
        images, listing = _images(paths), Path(f"{kept}.{FILE}") if kept else None
        alike = _check_hold_out(images, base, asked.grouping, report).settled(asked.near_duplicates, listing)
        collections = _collections(base, report, asked.device, images)
        sides = LeakageSets(**collections)
        real_groups = grouped(sides, asked.grouping)
        report.say("comparing")
        views = views_of(sides, real_groups, asked.seed)
        figures = leakage(views, whole(len(sides.generated), real_groups), real_groups, seed=asked.seed)
        attacked = attacks(views[COMBINED], real_groups, asked.seed)
        real = RealSides((sides.training, sides.hold_out), real_groups, asked.grouping is not None)
        quality = if_possible(lambda: measured(real, sides.generated, {}, FidelitySettings(seed=asked.seed), report))
        warnings, alone = _warnings(collections, alike), LeakageOfSets.of_one(name, figures, attacked)
        runs: dict[str, int] = {}
        if output.db or output.out:
            with output.store() as store:
                alone, runs = with_copies(alone, {name: sides}, asked.grouping, store, report)
    files = write_sets_report(alone, output.out, warnings) if output.out else []
    failed = _list_failures(collections)
    answer = leakage_sentence(figures, "the generated images")
    parts = answer, leakage_table(figures), attacks_text(attacked), fidelity_text(quality)
    values = {**figures.as_dict(), "answer": answer, "attacks": attacked.as_dict(), "fidelity": quality}
    values |= {"runs": runs, "files": files, "warnings": warnings, "failed": failed}
    show(values, as_json, "\n".join([*warnings, "\n\n".join(parts)]))
    return exit_code(failed)


def _compare_sets(asked: LeakageRequest, output: SetsOutput, as_json: bool) -> int:
    """The figures of several sets, side by side."""
    from query.cli.inputs import named_as_given
    from query.cli.output.sets import sets_text
    from query.cli.sets import collections_of_sets, named_sets, place_of, with_copies
    from query.inputs.contamination import FILE
    from query.leakage.leakage import LeakageSets
    from query.leakage.sets import groups_of_sets, leakage_of_sets
    from query.report.sets import write_sets_report

    named, kept = named_sets(asked.generated), output.kept
    with working() as report, output.base() as base:
        real, made = _images({"training": asked.training, "hold_out": asked.hold_out}), _images(named)
        places = {place_of(base, number): path for number, path in enumerate(named.values(), 1)}
        places |= _places(base, {"training": asked.training, "hold_out": asked.hold_out})
        with named_as_given({} if kept else places):
            contaminated = _check_hold_out({**real, "generated": next(iter(made.values()))}, base, asked.grouping, report)
            alike = contaminated.settled(asked.near_duplicates, Path(f"{base}.{FILE}") if kept else None)
            collections = collections_of_sets(base, real, made, asked.device, report)
            sides = {name: LeakageSets(collections[name], collections["training"], collections["hold_out"]) for name in named}
            real_groups = groups_of_sets(sides, asked.grouping)
            report.say("comparing")
            found = leakage_of_sets(sides, real_groups, primary=output.primary, seed=asked.seed)
            warnings = _warnings(collections, alike)
            with output.store() as store:
                found, runs = with_copies(found, sides, asked.grouping, store, report)
    files = write_sets_report(found, output.out, warnings) if output.out else []
    failed = _list_failures(collections)
    values = {**found.as_dict(), "runs": runs, "files": files, "warnings": warnings, "failed": failed}
    show(values, as_json, "\n".join([*warnings, sets_text(found)]))
    return exit_code(failed)


@command("filter")
@click.argument("training")
@click.argument("generated")
@option(
    "--hold-out", help="Images not used in training (folder or collection): they calibrate the filter and measure what remains."
)
@option(
    "--risk",
    type=click.FloatRange(0, 1, True, True),
    default=RISK,
    help="Accepted share of images withheld if nothing was copied.",
)
@option("--list", "listed", type=NewFile(), help="Write the decisions as CSV (contains names of training images).")
@option("--out", type=FOLDER, help="New folder for links to the images to keep.")
@option("--link", type=click.Choice(["symbolic", "hard"]), default="symbolic", help="Kind of links.")
@option("--db", type=DATABASE, help="Store comparison and decisions in this DuckDB file, as compare does.")
@together(groups_option, near_duplicates_option)
@seed_option
@together(device_option, json_option, common_options)
def filter_command(
    training: str,
    generated: str,
    hold_out: str | None,
    risk: float,
    listed: Path | None,
    out: Path | None,
    link: str,
    db: Path | None,
    groups: str | None,
    delimiter: str | None,
    encoding: str | None,
    near_duplicates: str,
    seed: int,
    device: str,
    as_json: bool,
) -> int:
    """Split generated images into those to keep and those to withhold.

    An image is withheld if it is nearer to a training image than all but a share --risk of generated images are to hold-out
    images, with equal numbers of images by patient. A greater risk withholds more copies and more images that are none. Without
    --hold-out the threshold comes from training images alone and is uncalibrated. Collections are stored beside the output. Exit
    code 1 if images are withheld.

    \b
    Example:
      synthtrace filter training/ generated/ --hold-out held-out/ --list decisions.csv
    """
    from query.cli.output.fidelity import fidelity_text
    from query.cli.output.leakage import filter_text
    from query.inputs.contamination import FILE
    from query.inputs.groups import read_groups
    from query.inputs.tables import TableForm
    from query.leakage.filter import Link, check_new, link_kept, sort_out, sort_out_alone, write_list
    from query.quality.estimate import FidelitySettings
    from query.quality.fidelity import if_possible
    from query.quality.filtered import fidelity_of_release

    where = db or listed or out
    if not (listed or out) or where is None:
        raise click.UsageError("nothing would be written; give --list or --out")
    if out:
        check_new(out)
    grouping = read_groups(groups, TableForm(delimiter, encoding)) if groups else None
    base = where if where is out else where.with_suffix("")
    paths = {"generated": generated, "training": training, **({"hold_out": hold_out} if hold_out else {})}
    with working() as report:
        images, listing = _images(paths), Path(f"{base}.{FILE}")
        alike = _check_hold_out(images, base, grouping, report).settled(near_duplicates, listing) if hold_out else 0
        collections = _collections(base, report, device, images)
        options: dict[str, Any] = {"risk": risk, "groups": grouping}
        report.say("comparing")
        if hold_out:
            release = sort_out(collections["generated"], collections["training"], collections["hold_out"], seed=seed, **options)
        else:
            release = sort_out_alone(collections["generated"], collections["training"], **options)
        if db:
            _record(db, collections, release, grouping, device, report)
        sets = collections["generated"], collections["training"], collections.get("hold_out")
        quality = if_possible(lambda: fidelity_of_release(release, sets, grouping, FidelitySettings(seed=seed), report))
    linked = link_kept(release, collections["generated"], out, Link(link)) if out else None
    if listed:
        write_list(release, listed)
    failed = _list_failures(collections)
    warnings = _warnings(collections, alike)
    values = {**release.as_dict(), "fidelity": quality, "linked": linked, "warnings": warnings, "failed": failed}
    show(values, as_json, "\n".join([*warnings, filter_text(release), "", fidelity_text(quality)]))
    return exit_code(failed, int(release.withheld.sum()))


@command("fidelity")
@click.argument("real")
@click.argument("generated")
@option("--hold-out", help="Real images not used in training (folder or collection): the reference, where there are any.")
@option("--k", "k", type=click.IntRange(min=1), default=5, help="Neighbours of precision, recall, density and coverage.")
@together(groups_option, near_duplicates_option, network_options)
@option("--work", type=FOLDER, help="Keep the collections in this folder, to reuse them.")
@seed_option
@together(device_option, json_option, common_options)
def fidelity_command(
    real: str,
    generated: str,
    hold_out: str | None,
    k: int,
    groups: str | None,
    delimiter: str | None,
    encoding: str | None,
    near_duplicates: str,
    work: Path | None,
    seed: int,
    device: str,
    as_json: bool,
    **network: Any,
) -> int:
    """Measure how like real images generated ones are.

    Precision, recall, density, coverage, Fréchet and kernel distance, of equally many images, beside what real images of other
    patients reach. With --hold-out those images are the reference, and leakage stands beside; without, one half of the real
    patients is, and copies look best. No weights are downloaded.

    \b
    Example:
      synthtrace fidelity training/ generated/ --hold-out held-out/ --groups '^patient\\d+'
    """
    from query.cli.inputs import named_as_given
    from query.cli.output.fidelity import fidelity_text
    from query.inputs.contamination import FILE
    from query.inputs.groups import read_groups
    from query.inputs.tables import TableForm
    from query.quality.estimate import FidelitySettings
    from query.quality.fidelity import fidelity

    grouping = read_groups(groups, TableForm(delimiter, encoding)) if groups else None
    paths = {"generated": generated, "training": real, **({"hold_out": hold_out} if hold_out else {})}
    settings = _settings_of_network(network, bool(hold_out))
    with working() as report, _folder(work) as folder, named_as_given({} if work else _places(folder / "fidelity", paths)):
        images, listing = _images(paths), work / f"fidelity.{FILE}" if work else None
        base = folder / "fidelity"
        alike = _check_hold_out(images, base, grouping, report).settled(near_duplicates, listing) if hold_out else 0
        collections = _collections(base, report, device, images, settings)
        report.say("comparing")
        sides = collections["training"], collections["generated"], collections.get("hold_out")
        found = fidelity(*sides, groups=grouping, settings=FidelitySettings(k, seed=seed), progress=report)
        warnings = _warnings(collections, alike)
    failed = _list_failures(collections)
    show({**found.as_dict(), "warnings": warnings, "failed": failed}, as_json, "\n".join([*warnings, fidelity_text(found)]))
    return exit_code(failed)


def _settings_of_network(options: Mapping[str, Any], held_out: bool) -> "Settings | None":
    """How collections are made: by view `resnet` alone where no leakage is measured. Its weights must be on this machine.

    Raises:
        click.UsageError: an option has no sense.
        WeightsError: the weights would have to be downloaded.
    """
    if options.get("resnet_weights") == "imagenet":
        from embeddings.views.network import check_downloaded

        check_downloaded(options.get("resnet") or "resnet18")
    return settings_of({**options, "view": () if held_out else ("resnet",)})


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    """The folder for collections: the one named, or one that goes away."""
    if work:
        make_folder(work)
        yield work
    else:
        with temporary_folder() as folder:
            yield folder


def _images(paths: Mapping[str, str]) -> dict[str, "Collection | Source"]:
    """The images of each side. A mistyped folder must not be found out after the others were indexed."""
    from query.cli.inputs import images_at

    return {side: images_at([path]) for side, path in paths.items()}


def _check_hold_out(
    images: "Mapping[str, Collection | Source]", base: Path, grouping: "Given | None", report: Reporter
) -> "Contamination":
    """What hold-out images share with the other sides, before anything is indexed.

    Raises:
        GroupsError: groups cannot be had as asked.
        CollectionError: an image of a collection changed since it was indexed.
    """
    from indexer.collection import Collection
    from indexer.salt import Salt
    from query.cli.inputs import decoding_for, see
    from query.inputs.contamination import Role, contamination, unseen
    from query.leakage.leakage import labels_of_both, real_sides

    decoding = decoding_for(images["generated"], Path(f"{base}.generated"))
    salt = next((side.salt for side in images.values() if isinstance(side, Collection)), Salt.random())
    training, hold_out = (see(images[side], decoding, salt, report) for side in ("training", "hold_out"))
    plain = real_sides((training, hold_out), labels_of_both(training, hold_out, grouping))
    sides = {
        role: replace(plain[role], thumbnails=seen.thumbnails) for role, seen in zip(plain, (training, hold_out), strict=True)
    }
    return contamination({**sides, Role.GENERATED: unseen(images["generated"], decoding)})


def _collections(
    base: Path, report: Reporter, device: str, images: "Mapping[str, Collection | Source]", settings: "Settings | None" = None
) -> dict[str, "Collection"]:
    """The collection of each side, in BASE.SIDE where it is not ready; generated images come first, others are like them."""
    from query.cli.inputs import collection_of

    options: dict[str, Any] = {"device": device, "progress": report}
    collections: dict[str, Collection] = {}
    for side, of_side in images.items():
        fitted = {"fitted_on": collections["generated"]} if collections else {"settings": settings}
        collections[side] = collection_of(of_side, Path(f"{base}.{_side(side)}"), **fitted, **options)
    report.close()
    return collections


def _places(base: Path, paths: Mapping[str, str]) -> dict[str, str]:
    """Where the collection of each side is made -> what it is made from."""
    return {f"{base}.{_side(side)}": path for side, path in paths.items()}


def _side(side: str) -> str:
    return side.replace("_", "-")


def _warnings(collections: "Mapping[str, Collection]", alike: int) -> list[str]:
    """Sets that share patients by their DICOM headers, and hold-out images that the user went on with."""
    from query.inputs.patients import shared_patients, shared_warning

    lines = [
        shared_warning(shared_patients(collections[first], collections[second]), _side(first), _side(second))
        for first, second in combinations(collections, 2)
        if {first, second} & {"training", "hold_out"}
    ]
    if alike:
        which = many(alike, "hold-out image is a near-duplicate", "hold-out images are near-duplicates")
        lines.append(f"WARNING: {which} of training images: leakage seems smaller than it is.")
    return [line for line in lines if line]


def _list_failures(collections: "Mapping[str, Collection]") -> int:
    """Name the images that could not be read; how many there are."""
    from query.cli.inputs import failures

    unreadable = [
        (f"{collection.manifest.source}/{path}", reason)
        for collection in collections.values()
        for path, reason in (failures(collection) if collection.manifest.failed else [])
    ]
    list_failures(unreadable, "images.parquet of the collections")
    noted = [(f"{one.manifest.source}/{path}", note) for one in collections.values() for path, note in one.notes.items()]
    list_notes(noted, "images.parquet of the collections")
    return len(unreadable)


def _record(
    db: Path,
    collections: "Mapping[str, Collection]",
    release: "Release",
    grouping: "Given | None",
    device: str,
    report: Reporter,
) -> None:
    """The comparison of training and generated images as a run, with the decisions and the figures of leakage."""
    from query.comparison.comparison import compare
    from query.database.record import Results, record
    from query.database.store import Store
    from query.inputs.groups import groups_by_row
    from query.inputs.sides import sides_of
    from query.leakage.decision import ReleaseDecisions

    sides = sides_of(collections["training"], collections["generated"])
    comparison = compare(sides, device=collections["generated"].devices(device), progress=report)
    decisions = ReleaseDecisions.of_release(release, collections["training"].names)
    groups = groups_by_row(grouping, sides.real) if grouping else {}
    used = dict.fromkeys(range(len(sides.real)), True)
    with Store.open(db) as store:
        record(store, Results(comparison, used, groups, release=decisions), command="filter")
        report.close()
