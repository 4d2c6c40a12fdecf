"""Commands `duplicates` and `leaky-splits`: what is repeated in a set, and what sets share that must not share any."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import make_folder
from query.cli.options import common_options, device_option, groups_option, json_option, mirror_option, seed_option
from query.cli.parameters import DATABASE, FOLDER, command, option, together
from query.cli.program import exit_code, show, working
from query.cli.progress import Reporter

if TYPE_CHECKING:
    from indexer.collection import Collection

out_option = option("--out", type=FOLDER, help="Write tables, a sheet of pictures and the collections into this folder.")


@command("duplicates")
@click.argument("images")
@option(
    "--against", metavar="REAL", help="Real images (folder or collection): their figures are the baseline of a generated set."
)
@out_option
@option("--db", type=DATABASE, help="Store groups, pairs, distances and diversity in this DuckDB file.")
@option("--max", "most", type=click.IntRange(min=0), help="Exit code 1 if more images than this repeat another one.")
@mirror_option
@groups_option
@seed_option
@together(device_option, json_option, common_options)
def duplicates_command(
    images: str,
    against: str | None,
    out: Path | None,
    db: Path | None,
    most: int | None,
    mirror: bool,
    groups: str | None,
    delimiter: str | None,
    encoding: str | None,
    seed: int,
    device: str,
    as_json: bool,
) -> int:
    """Find images of one set that show the same picture.

    In a generated set they tell of mode collapse, in a real one of repeats: with --groups, those that two patients share are
    told apart. IMAGES is a folder or a collection. Equal files and pixels are found, and near-duplicates: pictures that agree on
    more points under one transformation than chance brings about. Diversity is measured as well.

    \b
    Example:
      synthtrace duplicates generated/ --against real/ --out duplicates
    """
    from query import Database
    from query.cli.inputs import check_database, tell_failures
    from query.cli.output.duplicates import duplicates_text
    from query.duplication.duplicates import duplicates
    from query.duplication.writing import write_duplicates
    from query.inputs.groups import read_groups
    from query.inputs.tables import TableForm

    grouping = read_groups(groups, TableForm(delimiter, encoding)) if groups else None
    if db:
        check_database(db)
    with working() as report, _folder(out) as folder:
        paths = {"images": images} if against is None else {"real": against, "images": images}
        made = _collections(paths, folder, device, report)
        mirrored = _flipped([made["images"]], folder, device, report)[0] if mirror else None
        found = duplicates(
            made["images"], against=made.get("real"), groups=grouping, mirrored=mirrored, seed=seed, progress=report
        )
    for collection in made.values():
        tell_failures(collection)
    written = write_duplicates(found, out) if out else []
    search = None
    if db:
        with Database(db) as database:
            search = database.save_duplicates(found)
        written.append(db)
    show({**found.as_dict(), "search": search}, as_json, "\n".join([duplicates_text(found), *_told(written)]))
    return _code(made.values(), found.failed, most, found.repeated)


@command("leaky-splits")
@click.argument("sets", nargs=-1, required=True, metavar="TRAIN TEST...")
@option("--splits", metavar="CSV|folders", help="Splits of one folder: a CSV of image,split, or folders (its first folders).")
@option("--drop-from", metavar="SPLIT", help="Split that images are dropped from.  [default: of two splits the later one]")
@out_option
@option("--max", "most", type=click.IntRange(min=0), help="Exit code 1 if more images than this would have to be dropped.")
@mirror_option
@groups_option
@together(device_option, json_option, common_options)
def leaky_splits_command(
    sets: tuple[str, ...],
    splits: str | None,
    drop_from: str | None,
    out: Path | None,
    most: int | None,
    mirror: bool,
    groups: str | None,
    delimiter: str | None,
    encoding: str | None,
    device: str,
    as_json: bool,
) -> int:
    """Find images and patients that training and test images share.

    Each argument is a folder of images or a collection; or one folder of all images, with --splits. Equal files and pixels are
    found, near-duplicates, and with --groups patients of two splits: by name, or by near-duplicates of two names. The list of
    images to drop is drop.csv in --out.

    \b
    Example:
      synthtrace leaky-splits train/ test/ --groups '^patient\\d+' --out leaks
    """
    from query.cli.inputs import tell_failures
    from query.cli.output.duplicates import leaks_text
    from query.duplication.leaky_splits import leaky_splits
    from query.duplication.split_names import FOLDERS, read_splits
    from query.duplication.writing import write_leaks
    from query.inputs.groups import read_groups
    from query.inputs.tables import TableForm

    if (len(sets) == 1) == (splits is None):
        raise click.UsageError("give two folders or more, or one with --splits")
    form = TableForm(delimiter, encoding)
    grouping = read_groups(groups, form) if groups else None
    labels = splits if splits in (None, FOLDERS) else read_splits(Path(str(splits)), form)
    names = _names(sets)
    with working() as report, _folder(out) as folder:
        made = _collections(dict(zip(names, sets, strict=True)), folder, device, report)
        mirrored = _flipped(list(made.values()), folder, device, report) if mirror else []
        compared = made if splits is None else made[names[0]]
        found = leaky_splits(compared, splits=labels, groups=grouping, mirrored=mirrored, drop_from=drop_from, progress=report)
    for collection in made.values():
        tell_failures(collection)
    written = write_leaks(found, out) if out else []
    show(found.as_dict(), as_json, "\n".join([leaks_text(found), *_told(written)]))
    return _code(made.values(), found.failed, most, len(found.drop))


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """The folder for collections: in the one for results, or one that goes away."""
    if out is not None:
        make_folder(out)
        yield out
        return
    with temporary_folder() as folder:
        yield folder


def _names(sets: Sequence[str]) -> list[str]:
    """What splits are called: the last part of each path, or the whole where two end alike."""
    short = [Path(path).name or path for path in sets]
    names = short if len(set(short)) == len(short) else list(sets)
    if len(set(names)) < len(names):
        raise click.UsageError("the same folder is given twice")
    return names


def _collections(paths: dict[str, str], folder: Path, device: str, report: Reporter) -> "dict[str, Collection]":
    """The collection of each, in FOLDER/NAME.collection where it is not ready; all see as the first ready one, or the first."""
    from indexer.collection import Collection
    from query.cli.inputs import collection_of, images_at, named_as_given

    images = {name: images_at([path]) for name, path in paths.items()}
    places = {name: folder / f"{place}.collection" for place, name in enumerate(images, 1)}
    made: dict[str, Collection] = {name: each for name, each in images.items() if isinstance(each, Collection)}
    with named_as_given({str(places[name]): path for name, path in paths.items()}):
        for name, each in images.items():
            fitted: dict[str, Any] = {"fitted_on": next(iter(made.values()))} if made else {}
            made[name] = collection_of(each, places[name], device=device, progress=report, **fitted)
    return {name: made[name] for name in images}


def _flipped(collections: "Sequence[Collection]", folder: Path, device: str, report: Reporter) -> "list[Collection]":
    from query.cli.inputs import flipped

    return [
        flipped(each, folder / f"{place}.flipped", fitted_on=each, device=device, progress=report)
        for place, each in enumerate(collections, 1)
    ]


def _told(written: Sequence[Path]) -> list[str]:
    return ["", *(f"written: {path}" for path in written)]


def _code(collections: "Any", failed: Sequence[str], most: int | None, findings: int) -> int:
    unreadable = sum(collection.manifest.failed for collection in collections) + len(failed)
    return exit_code(unreadable, 0 if most is None else max(0, findings - most))
