"""The commands: parse, call, print. Results go to standard output, everything else to standard error.

Heavy libraries are imported by the commands that need them: a single look-up must answer at once.
"""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embeddings.files.temporary import temporary_folder
from embeddings.views.registry import VIEWS
from query import terminal
from query.cli.evaluate import evaluate, submit
from query.cli.inspect import check, doctor, info, sql
from query.cli.leakage import filter_command, leakage_command
from query.cli.options import (
    PREFIX,
    NewFile,
    candidates_option,
    common_options,
    device_option,
    index_options,
    json_option,
    k_option,
    known_options,
    mirror_option,
    option,
    settings_of,
    together,
    turned_option,
    verify_option,
)
from query.cli.predict import method_options, predict
from query.cli.program import DATABASE, Program, exit_code, list_failures, show, working
from query.cli.progress import Reporter
from query.cli.report import report
from query.cli.serve import serve
from query.cli.train import train

if TYPE_CHECKING:
    from indexer.collection import Collection
    from indexer.device import Device
    from query.comparison.matching import Budget
    from query.flow import Audit


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        from indexer.build.commit import versions

        terminal.out(f"synthtrace {versions().get('synthtrace', '(not installed)')}")
        ctx.exit()


@click.group(
    cls=Program,
    context_settings={"auto_envvar_prefix": PREFIX, "help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit.")
def program() -> None:
    """Audit generated images for traces of the real images behind them.

    \b
    Example:
      synthtrace audit real/ generated/ --out report

    Results go to standard output, progress and messages to standard error. Exit codes: 0 done, 1 findings over a threshold that
    you set (match_budget: a damaged collection), 2 wrong usage or nothing to work on, 3 done but some images could not be read.

    Every option can also be set by the environment, SYNTHTRACE_DEVICE for all commands or SYNTHTRACE_INDEX_DEVICE for one, and by
    a TOML file, synthtrace.toml in the working folder or --config FILE: keys at its top are for all commands, those of a table
    such as [index] for one. The command line wins over the environment, the environment over the file.
    """


FOLDER = click.Path(file_okay=False, path_type=Path)
collection_argument = click.argument("collection", type=click.Path(path_type=Path))


@program.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@option("--out", required=True, type=FOLDER, help="Folder of the collection.")
@index_options
@option("--refit", is_flag=True, help="Learn anew, and take other settings, where the collection is there already.")
@together(device_option, json_option, common_options)
def index(inputs: tuple[str, ...], out: Path, refit: bool, device: str, as_json: bool, **chosen: Any) -> int:
    """Index images into a collection that can be searched.

    Interrupted, it carries on; called again, it does only what changed. An INPUT is a folder, an image, @LIST for a file that
    lists paths, or - for a list on standard input.

    \b
    Example:
      synthtrace index generated/ --out generated.collection
    """
    from indexer.build.build import Settings, build
    from indexer.device import choose_device
    from query.cli.info import collection_info, collection_text
    from query.cli.inputs import tell_failures

    settings = settings_of(chosen)
    with working() as report:
        report.say(choose_device(device, network="resnet" in (settings or Settings()).views).note)
        made = build(out, *inputs, settings=settings, refit=refit, device=device, progress=report)
    facts = collection_info(made)
    tell_failures(made)
    show(facts, as_json, collection_text(facts))
    return exit_code(made.manifest.failed)


@program.command("compare")
@click.argument("real", nargs=-1, required=True)
@collection_argument
@option("--db", required=True, type=DATABASE, help="DuckDB file, made where missing.")
@together(mirror_option, k_option, known_options, device_option, json_option, common_options)
def query_command(
    real: tuple[str, ...],
    collection: Path,
    db: Path,
    mirror: bool,
    k: int,
    labels: Path | None,
    groups: str | None,
    device: str,
    as_json: bool,
) -> int:
    """Compare real images with a collection, both ways, into DuckDB.

    REAL is images as for index, or a collection. Images are indexed beside the database, for results.duckdb into results.real
    (and results.mirrored), so that the command can be repeated and resumed.

    \b
    Example:
      synthtrace compare real/ generated.collection --db results.duckdb
    """
    from indexer.collection import Collection
    from query.cli.inputs import check_database, collection_of, flipped, shared_files, tell_failures
    from query.cli.overview import overview
    from query.database.record import query
    from query.database.store import Store
    from query.inputs.groups import read_groups
    from query.inputs.labels import read_labels

    known = read_labels(labels) if labels else None
    grouping = read_groups(groups) if groups else None
    generated = Collection(collection)
    where = generated.devices(device)
    check_database(db)
    with working() as report:
        report.say(where.note)
        reals = collection_of(real, db.with_suffix(".real"), fitted_on=generated, device=device, progress=report)
        mirrored = (
            flipped(reals, db.with_suffix(".mirrored"), fitted_on=generated, device=device, progress=report) if mirror else None
        )
        report.close()
        tell_failures(reals)
        with Store.open(db) as store:
            grouped = grouping(reals.names) if grouping else None
            options: dict[str, Any] = {"k": k, "device": where, "labels": known, "groups": grouped, "progress": report}
            run = query(store, reals, generated, mirrored=mirrored, **options)
            found = overview(store, run, shared_files(reals, generated))
    show(found.as_dict(), as_json, str(found))
    return exit_code(sum(found.failed))


@program.command("lookup")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@collection_argument
@option("--view", "views", multiple=True, help="View to ask; repeat it for several.  [default: all of the collection]")
@option("--k", "k", type=click.IntRange(min=1), default=5, help="Neighbours shown for each view.")
@option("--mirror", is_flag=True, help="Ask with the left-right flipped image too.")
@option("--figure", type=NewFile(), help="Picture of the image beside its neighbours; for one image.")
@together(device_option, json_option, common_options)
def lookup_command(
    images: tuple[str, ...],
    collection: Path,
    views: tuple[str, ...],
    k: int,
    mirror: bool,
    figure: Path | None,
    device: str,
    as_json: bool,
) -> int:
    """Find the nearest images of a collection for single images.

    \b
    Example:
      synthtrace lookup suspect.png generated.collection --view phash
    """
    from embeddings.images.workers import start

    start()  # while libraries are loaded here
    from indexer.collection import Collection
    from indexer.device import choose_device
    from query.cli.hits import draw, lookup_text
    from query.cli.inputs import named_files, notes_of
    from query.comparison.lookup import look, read_images

    searched = Collection(collection)
    asked = list(views or searched.views)
    paths, broken = named_files(images)
    where = choose_device(device, network="resnet" in asked)
    read, names, failed = read_images(searched, paths)
    hits = look(searched, read, names, views=asked, k=k, mirror=mirror, device=where) if read else []
    unreadable = [*broken, *((str(path), reason) for path, reason in failed.items())]
    list_failures(unreadable, "--json")
    notes = notes_of(searched, asked)
    result = {
        "collection": str(collection),
        "notes": notes,
        "hits": [hit.as_dict() for hit in hits],
        "failures": [{"path": path, "reason": reason} for path, reason in unreadable],
    }
    show(result, as_json, lookup_text(hits, notes))
    if figure:
        draw(figure, searched, read, hits)
    return exit_code(len(unreadable))


@program.command("map")
@click.argument("generated")
@click.argument("real")
@option("--threshold", type=click.FloatRange(min=0), metavar="BITS", help="Farther apart, an image has no source.")
@option("--db", type=DATABASE, help="Keep everything in this DuckDB file, as query does.")
@option("--view", default="phash", type=click.Choice(list(VIEWS)), help="What the distance is measured by.")
@option("--csv", "csv_file", type=NewFile(), help="Write the map as CSV too.")
@together(device_option, json_option, common_options)
def map_command(
    generated: str,
    real: str,
    threshold: float | None,
    db: Path | None,
    view: str,
    csv_file: Path | None,
    device: str,
    as_json: bool,
) -> int:
    """Name the source of every generated image, or none.

    The source is the nearest real image; beyond the threshold there is none. GENERATED and REAL are folders of images or
    collections. The threshold is not calibrated: what it means is up to you.

    \b
    Example:
      synthtrace map generated/ real/ --threshold 50
    """
    from query.cli.inputs import check_database, named_as_given, tell_failures
    from query.cli.sourcemap import map_text, source_map, summary, write_csv

    if db:
        check_database(db)
    with working() as report, _map_folder(db) as folder, named_as_given(_map_names(folder, generated, real, db)):
        fake, reals = _map_sides(generated, real, view, folder, device, report)
        report.close()
        tell_failures(fake)
        tell_failures(reals)
        where = fake.devices(device)
        links = source_map(fake, reals, view, threshold, where.search)
        used = _record_map(db, fake, reals, view, threshold, where, report) if db else None
        report.close()
        failed = fake.manifest.failed + reals.manifest.failed
        for line in summary(links, fake, view, threshold, used):
            report.say(line)
    if csv_file:
        write_csv(links, csv_file)
    result = {"view": view, "threshold": threshold, "calibrated": False, "failed": failed}
    show({**result, "links": [link.as_dict() for link in links]}, as_json, map_text(links))
    found = sum(link.source is not None for link in links)
    return exit_code(failed, 0 if threshold is None else found)


@contextmanager
def _map_folder(db: Path | None) -> Iterator[Path]:
    """Where map keeps its collections, up to a suffix: beside the database, or in a folder that goes away."""
    if db:
        yield db.with_suffix("")
    else:
        with temporary_folder() as folder:
            yield folder / "map"


def _map_names(folder: Path, generated: str, real: str, db: Path | None) -> dict[str, str]:
    """Temporary collections, and what they are made from."""
    return {} if db else {str(folder.with_suffix(".generated")): generated, str(folder.with_suffix(".real")): real}


def _map_sides(
    generated: str, real: str, view: str, folder: Path, device: str, report: Reporter
) -> tuple["Collection", "Collection"]:
    """Both collections, seen with the same embedders: those of a ready one, if there is one."""
    from embeddings.images.find import find
    from indexer.build.build import Settings
    from indexer.collection import Collection
    from query.cli.inputs import collection_of, is_collection

    options: dict[str, Any] = {"device": device, "progress": report}
    settings = Settings(views={view: {}})
    if not is_collection(real) and real != "-":
        find(real)  # a mistyped folder must not be found out after the generated images
    if is_collection(real) and not is_collection(generated):
        theirs = Collection(real)
        theirs.spec(view)
        settings = replace(Settings.of(theirs.manifest), views={view: theirs.manifest.views[view].options})
    fakes = collection_of([generated], folder.with_suffix(".generated"), settings=settings, **options)
    return fakes, collection_of([real], folder.with_suffix(".real"), fitted_on=fakes, **options)


def _record_map(
    db: Path, generated: "Collection", real: "Collection", view: str, threshold: float | None, where: "Device", report: Reporter
) -> int | None:
    """Keep the run; with a threshold the number of real images that are near some generated one."""
    from query.cli.sourcemap import add_decisions
    from query.database.record import query
    from query.database.store import Store

    with Store.open(db) as store:
        run = query(store, real, generated, device=where, command="map", progress=report)
        return None if threshold is None else add_decisions(store, run, view, threshold)


@program.command("audit")
@click.argument("real")
@click.argument("generated")
@option("--out", default="out", type=FOLDER, help="Folder of the report and all behind it.")
@option("--threshold", type=click.IntRange(min=0), metavar="BITS", help="Exit code 1 where phash finds a pair so near.")
@together(verify_option, candidates_option, turned_option)
@together(known_options, method_options, mirror_option, k_option, index_options, device_option, json_option, common_options)
def audit_command(
    real: str,
    generated: str,
    out: Path,
    threshold: int | None,
    budget: "Budget",
    candidates: int,
    rotations: bool,
    labels: Path | None,
    groups: str | None,
    methods: tuple[str, ...],
    primary: str | None,
    level: float,
    prior: float,
    used: Path | None,
    unused: Path | None,
    mirror: bool,
    k: int,
    device: str,
    as_json: bool,
    **chosen: Any,
) -> int:
    """Index, compare and judge images, and report.

    Tables, plots, pictures of the nearest pairs, the database and a summary go to the folder --out. What is known of some real
    images calibrates, as for decide; where images of both kinds are known, the report says how well each method decides.

    \b
    Example:
      synthtrace audit real/ generated/ --out report
    """
    from query.flow import audit
    from query.membership.predict import PredictionRequest

    settings = settings_of(chosen)
    asked = PredictionRequest(methods, primary, level, prior, used, unused, chosen["seed"] or 0)
    known: dict[str, Any] = {"labels": labels, "groups": groups, "asked": asked}
    options: dict[str, Any] = {"mirror": mirror, "threshold": threshold, "k": k, "device": device}
    closely: dict[str, Any] = {"match_budget": budget, "candidates": candidates, "rotations": rotations}
    with working() as report:
        found = audit([real], [generated], out, settings=settings, progress=report, say=report.say, **known, **closely, **options)
    return _audited(found, as_json)


@program.command("demo")
@option("--out", default="demo", type=FOLDER, help="Folder of the slices and the report.")
@option("--generated", type=click.IntRange(min=1), default=10_000, help="Generated slices to make.")
@option("--real", type=click.IntRange(min=4), default=200, help="Real slices to make, half of them used.")
@together(verify_option, index_options, device_option, json_option, common_options)
def demo_command(out: Path, generated: int, real: int, budget: "Budget", device: str, as_json: bool, **chosen: Any) -> int:
    """Audit made-up slices whose truth is known, offline.

    \b
    Example:
      synthtrace demo --generated 1000
    """
    from query.demo import demo

    settings = settings_of(chosen)
    sizes = {"generated": generated, "real": real, "seed": chosen["seed"] or 0}
    with working() as report:
        found = demo(out, settings=settings, match_budget=budget, device=device, progress=report, say=report.say, **sizes)
    return _audited(found, as_json)


def _audited(found: "Audit", as_json: bool) -> int:
    show(found.as_dict(), as_json, found.summary)
    return exit_code(found.failed, found.findings or 0)


for command in (predict, leakage_command, filter_command, evaluate, submit, report, train, serve, sql, check, info, doctor):
    program.add_command(command)


def main() -> None:
    """Entry point of the command `synthtrace`."""
    os.umask(0o077)  # outputs hold patients' scans
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # decoders warn of what the images' own errors say better
    for library in ("PIL", "pydicom", "nibabel.global"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    terminal.prepare()
    program(prog_name="synthtrace")


if __name__ == "__main__":
    main()
