"""Open or build the collections that a command's arguments name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embeddings.images.containers.names import is_container, split
from embeddings.images.decoding import Decoding
from embeddings.images.find import LeftOut, Source, find
from embeddings.images.orientation import AUTO, Orientation
from indexer.collection import IMAGES, Collection
from indexer.files import LOCK
from indexer.manifest import NAME as MANIFEST
from indexer.manifest import CollectionError
from indexer.salt import Salt
from indexer.sharded.collection import ShardedCollection, is_sharded
from indexer.sharded.joined import open_joined
from query.cli.program import list_failures, list_notes

if TYPE_CHECKING:
    from indexer.build.build import Progress
    from query.inputs.seen import Seen
    from query.inputs.sides import Sides


def is_collection(path: str | Path) -> bool:
    """Whether this is the folder of a collection, finished or not, and no folder of images."""
    folder = Path(path)
    return is_sharded(folder) or (folder / LOCK).exists() or ((folder / MANIFEST).exists() and (folder / IMAGES).exists())


def images_at(inputs: Sequence[str], further: Sequence[str] = ()) -> Collection | Source:
    """The ready collection that is the only input, or the image files of all of them; a list on standard input is read now.

    Args:
        inputs: folders, files, lists or a collection.
        further: more of the same, see `embeddings.images.find.find`.

    Raises:
        NoImages: an input is not there, or holds no image.
        CollectionError: the ready collection is unfinished, damaged or of another version.
    """
    if len(inputs) == 1 and not further and is_collection(inputs[0]):
        return open_joined(inputs[0])
    return find(*inputs, further=further)


def collection_of(images: Collection | Source, folder: Path, **options: Any) -> Collection:
    """The collection, or the one that `indexer.build.build.build` makes in `folder` from the files."""
    from indexer.build.build import build

    return images if isinstance(images, Collection) else build(folder, images, **options)


def see(images: Collection | Source, decoding: Decoding, salt: Salt, progress: "Progress") -> "Seen":
    """The images as they are seen before they are indexed; those of a collection are read again."""
    from query.inputs.seen import see_collection, see_files

    return see_collection(images, progress) if isinstance(images, Collection) else see_files(images, decoding, salt, progress)


def decoding_for(generated: Collection | Source, folder: Path) -> Decoding:
    """How real images are decoded: as the generated ones, which are indexed in `folder` where they are no collection."""
    from query.inputs.seen import decoding_in

    return decoding_in(generated.folder if isinstance(generated, Collection) else folder)


def source_of(collection: Collection) -> Source:
    """Every file of a collection, the unreadable ones too, where it was and as it was named when it was indexed."""
    root = Path(collection.manifest.source)
    paths = collection.table["path"].unique().to_pylist()
    inside = [(path, split(str(root / path))) for path in paths]
    files = {path if found is None else Path(found[0]).relative_to(root).as_posix() for path, found in inside}
    return Source(
        root, tuple(sorted(files)), tuple(LeftOut(**each) for each in collection.manifest.left_out), (), collection.manifest.base
    )


def oriented(collection: Collection, folder: Path, orientation: Orientation, **options: Any) -> Collection:
    """The collection in `folder` of the same images, by the same names, under another orientation."""
    from indexer.build.build import Settings, build

    settings = Settings.of(collection.manifest, orientation)
    return build(folder, source_of(collection), settings=settings, **options)


def turned(real: Collection, generated: Collection, asked: str | None, folder: Path, **options: Any) -> Collection:
    """Real images under the orientation asked for; ``auto``: under the one that a check finds; None: as they are there.

    Args:
        real, generated: as indexed.
        asked: name of an orientation, ``auto``, or None.
        folder: of the real collection; that of turned images gets the name of the orientation behind it.
        options: of `indexer.build.build.build`.
    """
    from query.comparison.orientation import check_orientation
    from query.inputs.sides import sides_of

    there = real.manifest.orientation
    if asked is None:
        return real
    wanted = there.then(check_orientation(sides_of(real, generated)).found) if asked == AUTO else Orientation(asked)
    if wanted == there:
        return real
    return oriented(real, folder.with_name(f"{folder.name}-{wanted}"), wanted, fitted_on=generated, **options)


def flipped(collection: Collection, folder: Path, **options: Any) -> Collection:
    """The collection in `folder` of the same images, flipped left to right."""
    return oriented(collection, folder, collection.manifest.orientation.then(Orientation.FLIP_LEFT_RIGHT), **options)


def mirrored_beside(db: Path, real: Collection) -> Path:
    """Folder of the flipped real images of a database."""
    there = real.manifest.orientation
    return db.with_suffix(".mirrored" if there == Orientation.AS_IS else f".mirrored-{there}")


def indexed_sides(
    images: "tuple[Collection | Source, Collection | Source]",
    db: Path,
    mirror: bool,
    orient: str | None,
    options: Mapping[str, Any],
) -> "Sides":
    """Real and generated images, indexed beside the database where they are no collections yet; failures are told.

    Args:
        images: real and generated ones, of `images_at`.
        db: the database.
        mirror: whether flipped real images are wanted too.
        orient: see `turned`.
        options: of `indexer.build.build.build`, with ``progress``.
    """
    from query.inputs.sides import sides_of

    real, generated = images
    fakes = collection_of(generated, db.with_suffix(".generated"), **options)
    reals = collection_of(real, db.with_suffix(".real"), fitted_on=fakes, **options)
    reals = turned(reals, fakes, orient, db.with_suffix(".real"), **options)
    mirrored = flipped(reals, mirrored_beside(db, reals), fitted_on=fakes, **options) if mirror else None
    options["progress"].close()
    tell_failures(reals)
    tell_failures(fakes)
    return sides_of(reals, fakes, mirrored, real_paths={} if isinstance(real, Collection) else real.paths)


def named_files(inputs: Sequence[str]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Image files as the user named them, in archives and tables too, and path and reason of what could not be looked at.

    Raises:
        NoImages: an input is not there, or holds no image.
    """
    files: list[Path] = []
    broken: list[tuple[str, str]] = []
    for argument in inputs:
        source = find(argument)
        listed = argument == "-" or argument.startswith("@")
        folder = source.root if listed else Path(argument) if Path(argument).is_dir() else Path(argument).parent
        for name in source.files:
            inside, bad = _held(source.root, name) if is_container(name) else ([name], [])
            files += [folder / path for path in inside]
            broken += [(str(folder / path), reason) for path, reason in bad]
        broken += [(str(folder / name), reason) for name, reason in source.broken]
    return files, broken


def _held(root: Path, name: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Paths of the pictures in a file of many, and path and reason of what could not be looked at."""
    from indexer.build.files import look

    held = look(root, name, Decoding()).files
    paths = list(dict.fromkeys(file.path for file in held if not file.error))
    return paths, [(file.path, file.error) for file in held if file.error]


def failures(collection: Collection) -> list[tuple[str, str]]:
    """Path and reason of each file without vectors."""
    failed = collection.table.filter(collection.table["row"].is_null())
    return list(zip(failed["path"].to_pylist(), failed["error"].to_pylist(), strict=True))


def tell_failures(collection: Collection | ShardedCollection) -> None:
    """Name its files without vectors, and those that were read with a note, on standard error; and shards that were not made."""
    where, unreadable, noted = f"{collection.folder}/{IMAGES}", [], []
    parts: Iterable[Collection] = [collection] if isinstance(collection, Collection) else collection.shards
    for part in parts:
        source = part.manifest.source
        unreadable += [(f"{source}/{path}", reason) for path, reason in (failures(part) if part.manifest.failed else [])]
        noted += [(f"{source}/{path}", note) for path, note in part.notes.items()]
    if isinstance(collection, ShardedCollection):
        where = f"{collection.folder}/shard-*/{IMAGES}"
        unreadable += [(f"{collection.folder}/{shard.name}", shard.error) for shard in collection.failed_shards]
    list_failures(unreadable, where)
    list_notes(noted, where)


def check_database(db: Path) -> None:
    """Refuse a database that is no use before the long work; do not make one yet."""
    from query.database.store import Store

    if db.exists():
        Store.open(db).close()


def notes_of(collection: Collection, views: Sequence[str]) -> dict[str, str]:
    """View -> what a reader of results must know of it, where there is something: above all that a network was not trained."""
    entries = collection.manifest.views
    return {view: entries[view].notes for view in views if view in entries and entries[view].notes}


@contextmanager
def named_as_given(places: Mapping[str, str]) -> Iterator[None]:
    """Errors about temporary collections name what these were made from: nobody knows their folder, and soon it is gone.

    Args:
        places: folder of a collection -> what the user named.
    """
    try:
        yield
    except CollectionError as error:
        text = str(error)
        for folder, origin in places.items():
            text = text.replace(folder, f"the collection of {origin}")
        raise CollectionError(text) from error
