"""Output of `info`: the content of a collection or a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from embeddings.images.find import LeftOut
from embeddings.images.orientation import Orientation
from indexer.collection import ArrayReading, Collection
from indexer.files import sha256_of
from indexer.manifest import NAME as MANIFEST
from indexer.manifest import CollectionError, ViewEntry
from indexer.open import open_collection
from indexer.sharded.manifest import NAME as SHARDS
from query.cli.inputs import failures
from query.inputs.patients import described
from query.text import array_reading, left_out, many, name, table

_OF_MANIFEST = ("source", "images", "failed", "ignored", "orientation", "decoding", "sample", "versions")


@dataclass(frozen=True)
class ViewInfo:
    """A view of a collection; `index` is a FAISS factory string."""

    view: str
    dim: int
    metric: str
    index: str
    recall: float | None
    precision: str
    options: Mapping[str, Any]
    fingerprint: str
    note: str


@dataclass(frozen=True)
class FileFailure:
    """A file that could not be read."""

    path: str
    reason: str


@dataclass(frozen=True)
class CollectionInfo:
    """A collection in short.

    Attributes:
        collection: its folder.
        source: of the images.
        ignored: files that are not named as images.
        left_out: the same by kind.
        arrays: how arrays of pictures were read.
        patients: how many DICOM headers name; empty where there are none.
        bytes: of its files together.
    """

    collection: str
    source: str
    images: int
    failed: int
    ignored: int
    left_out: Sequence[LeftOut]
    arrays: Sequence[ArrayReading]
    patients: str
    orientation: Orientation
    bytes: int
    decoding: Mapping[str, Any]
    sample: Mapping[str, Any]
    versions: Mapping[str, str]
    views: Sequence[ViewInfo]
    failures: Sequence[FileFailure]

    def __str__(self) -> str:
        head = [f"collection {name(self.collection)}", f"{source_line(self)}; {self.bytes / 1e6:,.1f} MB"]
        arrays = map(array_reading, self.arrays)
        patients = [f"{self.patients}, by DICOM headers"] if self.patients else []
        return "\n".join([*head, *arrays, *patients, "", views_table(self.views), "", made_with(self.versions)])


@dataclass(frozen=True)
class RunInfo:
    """A row of the named analysis `runs`; `created` in UTC, ISO 8601."""

    run_id: int
    created: str
    command: str
    k: int
    mirror: bool
    real_source: str
    real_images: int
    real_failed: int
    generated_source: str
    generated_images: int
    generated_failed: int
    distances: str
    views: Sequence[str]


@dataclass(frozen=True)
class DatabaseInfo:
    """A database in short: its file and its Parquet files, its runs, and how many rows each table has."""

    database: str
    bytes: int
    parquet_files: int
    parquet_bytes: int
    runs: Sequence[RunInfo]
    rows: Mapping[str, int]

    def __str__(self) -> str:
        columns = ("run_id", "created", "command", "real_images", "generated_images", "k", "mirror", "distances")
        runs = [[*(getattr(run, column) for column in columns), " ".join(run.views)] for run in self.runs]
        head = f"database {name(self.database)}, {self.bytes / 1e6:,.1f} MB"
        if self.parquet_files:
            head += f", and {many(self.parquet_files, 'Parquet file')} beside it, {self.parquet_bytes / 1e6:,.1f} MB"
        return "\n\n".join([head, table([*columns, "views"], runs), table(["table", "rows"], list(self.rows.items()))])


def collection_info(collection: Collection) -> CollectionInfo:
    """What a collection holds."""
    manifest = collection.manifest
    files = [collection.folder / name for name in manifest.files]
    return CollectionInfo(
        collection=str(collection.folder),
        bytes=sum(path.stat().st_size for path in files if path.exists()),
        left_out=collection.left_out,
        arrays=collection.arrays,
        patients=described(collection.patients),
        views=view_infos(manifest.views),
        failures=[FileFailure(path, reason) for path, reason in failures(collection)] if manifest.failed else [],
        **{key: getattr(manifest, key) for key in _OF_MANIFEST},
    )


class Counted(Protocol):
    """What a collection was made of, in one piece or in shards."""

    @property
    def source(self) -> str: ...
    @property
    def images(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def left_out(self) -> Sequence[LeftOut]: ...
    @property
    def orientation(self) -> Orientation: ...


def source_line(info: Counted) -> str:
    """Where the images came from, how many there are, and what is missing."""
    turned = "" if info.orientation == Orientation.AS_IS else f" under {info.orientation}"
    aside = f", {left_out(info.left_out)}" if info.left_out else ""
    failed = f"{many(info.failed, 'file')} that could not be read"
    return f"of {name(info.source)}: {many(info.images, 'image')}{turned}, {failed}{aside}"


def made_with(versions: Mapping[str, str]) -> str:
    """The libraries that made a collection."""
    return f"made with {', '.join(f'{library} {version}' for library, version in versions.items())}"


def view_infos(views: Mapping[str, ViewEntry]) -> list[ViewInfo]:
    """The views of a manifest."""
    return [
        ViewInfo(
            view=name,
            dim=entry.spec.dim,
            metric=str(entry.spec.metric),
            index=entry.factory,
            recall=entry.recall,
            precision=entry.precision,
            options=entry.options,
            fingerprint=entry.spec.fingerprint,
            note=entry.note,
        )
        for name, entry in views.items()
    ]


def views_table(views: Sequence[ViewInfo]) -> str:
    """The views for people, with their notes."""
    columns = ("view", "dim", "metric", "index", "recall", "precision", "fingerprint")
    rows = [[*(getattr(view, column) for column in columns[:-1]), view.fingerprint[:12]] for view in views]
    return "\n".join([table(columns, rows), *(f"{view.view}: {view.note}" for view in views if view.note)])


def damages(folder: Path) -> list[str]:
    """One line for each damaged file of a collection.

    Raises:
        CollectionError: the folder is no collection, or an unfinished one.
    """
    try:
        return open_collection(folder).check()
    except CollectionError as error:
        if not any((folder / name).exists() for name in (MANIFEST, SHARDS)):
            raise
        return [str(error)]


def database_damages(path: Path) -> list[str]:
    """One line for each damaged Parquet file of a database; what is in the database itself DuckDB checks when it reads it.

    Raises:
        StoreError: it is no synthtrace database, in use, or its Parquet files are not all there.
    """
    from query.database.store import Store

    with Store.open(path, read_only=True) as store:
        places = [(file.place(store.folder), file.sha256) for file in store.parquet_files]
    return [f"{place}: other bytes than were written" for place, digest in places if sha256_of(place) != digest]


def database_info(path: Path) -> DatabaseInfo:
    """What a database holds.

    Raises:
        StoreError: it is no synthtrace database, or in use.
    """
    from query.database.store import Store

    with Store.open(path, read_only=True) as store:
        runs = store.analyse("runs").to_pylist()
        quoted = {name: name.replace('"', '""') for name in store.tables()}
        sizes = [file.bytes for file in store.parquet_files]
        rows = {name: store.sql(f'SELECT count(*) FROM "{quoted[name]}"').column(0)[0].as_py() for name in quoted}
    infos = [RunInfo(**{**run, "created": run["created"].isoformat(timespec="seconds")}) for run in runs]
    return DatabaseInfo(str(path), path.stat().st_size, len(sizes), sum(sizes), infos, rows)
