"""Commands `lookup` and `map`: nearest images of single images, nearest real image of each generated one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embeddings.files.temporary import temporary_folder
from embeddings.views.registry import VIEWS
from query.cli.options import collection_argument, common_options, device_option, json_option
from query.cli.parameters import DATABASE, NewFile, command, option, together
from query.cli.program import exit_code, list_failures, show, working
from query.cli.progress import Reporter

if TYPE_CHECKING:
    from indexer.collection import Collection
    from indexer.device import Device
    from query.inputs.sides import Sides


@command("lookup")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@collection_argument
@option("--view", "views", multiple=True, help="View to search; repeat for several.  [default: all in the collection]")
@option("--k", "k", type=click.IntRange(min=1), default=5, help="Neighbours shown per view.")
@option("--mirror", is_flag=True, help="Also search with the left-right flipped image.")
@option("--figure", type=NewFile(), help="Write a figure of the image and its neighbours (one image only).")
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
    """Find the nearest images in a collection for single images.

    \b
    Example:
      synthtrace lookup suspect.png generated.collection --view phash
    """
    from embeddings.images.workers import start

    start()  # while libraries are loaded here
    from indexer.device import choose_device
    from indexer.sharded.joined import open_joined
    from query.cli.inputs import named_files, notes_of
    from query.cli.output.hits import draw, lookup_text
    from query.comparison.lookup import lookup, read_images

    searched = open_joined(collection)
    asked = list(views or searched.views)
    paths, broken = named_files(images)
    where = choose_device(device, network="resnet" in asked)
    read, failed = read_images(searched, paths)
    hits = lookup(searched, read, views=asked, k=k, mirror=mirror, device=where) if read else []
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
        draw(figure, searched, [pixels for _, pixels in read], hits)
    return exit_code(len(unreadable))


@command("map")
@click.argument("generated")
@click.argument("real")
@option("--threshold", type=click.FloatRange(min=0), metavar="BITS", help="Maximum distance of a source.")
@option("--db", type=DATABASE, help="Store the comparison in this DuckDB file, as compare does.")
@option("--view", default="phash", type=click.Choice(list(VIEWS)), help="View that measures the distance.")
@option("--csv", "csv_file", type=NewFile(), help="Also write the map as CSV.")
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
    """Find the source of every generated image.

    The source is the nearest real image, or none if that one is farther than --threshold. GENERATED and REAL are folders of
    images or collections. The threshold is your choice and is not calibrated.

    \b
    Example:
      synthtrace map generated/ real/ --threshold 50
    """
    from query.cli.inputs import check_database, named_as_given, tell_failures
    from query.cli.output.source_map import map_text, summary
    from query.comparison.source_map import source_map, write_csv
    from query.inputs.sides import sides_of

    if db:
        check_database(db)
    with working() as report, _map_folder(db) as folder, named_as_given(_map_names(folder, generated, real, db)):
        fake, reals = _map_sides(generated, real, view, folder, device, report)
        report.close()
        tell_failures(fake)
        tell_failures(reals)
        where = fake.devices(device)
        links = source_map(fake, reals, view, threshold, where.search)
        used = _record_map(db, sides_of(reals, fake), view, threshold, where, report) if db else None
        report.close()
        failed = fake.manifest.failed + reals.manifest.failed
        for line in summary(links, fake, view, threshold, used):
            report.say(line)
    if csv_file:
        write_csv(links, csv_file)
    result = {"view": view, "threshold": threshold, "calibrated": False, "failed": failed}
    show({**result, "links": [link.as_dict() for link in links]}, as_json, map_text(links))
    sourced = sum(link.source is not None for link in links)
    return exit_code(failed, 0 if threshold is None else sourced)


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
    """Both collections, embedded with the same fitted views: those of an existing collection, if one is given."""
    from indexer.build.build import Settings
    from indexer.collection import Collection
    from query.cli.inputs import collection_of, images_at

    options: dict[str, Any] = {"device": device, "progress": report}
    settings = Settings(views={view: {}})
    fakes, theirs = images_at([generated]), images_at([real])  # a mistyped folder must not be found out after an hour
    if isinstance(theirs, Collection) and not isinstance(fakes, Collection):
        theirs.spec(view)
        settings = replace(Settings.of(theirs.manifest), views={view: theirs.manifest.views[view].options})
    indexed = collection_of(fakes, folder.with_suffix(".generated"), settings=settings, **options)
    return indexed, collection_of(theirs, folder.with_suffix(".real"), fitted_on=indexed, **options)


def _record_map(db: Path, sides: "Sides", view: str, threshold: float | None, where: "Device", report: Reporter) -> int | None:
    """Record the run; with a threshold the number of real images within it of some generated image."""
    from query.comparison.comparison import compare
    from query.database.record import Results, record
    from query.database.record_predictions import record_threshold
    from query.database.store import Store

    comparison = compare(sides, device=where, progress=report)
    with Store.open(db) as store:
        run = record(store, Results(comparison), command="map")
        return None if threshold is None else record_threshold(store, run, view, threshold)
