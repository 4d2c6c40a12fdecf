"""Images that lie elsewhere than when they were indexed: say where they are now, in a collection or in the runs of a database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embeddings.errors import SynthtraceError
from embeddings.images.containers.names import split
from embeddings.images.errors import printable
from indexer.collection import Collection
from indexer.files import hashed, locked
from query.database.store import Store
from query.text import many

_HASHED = 20  # files whose bytes are looked at


class MovedError(SynthtraceError):
    """A folder does not hold the images that are to be found there; the message is one line that names one of them."""


@dataclass(frozen=True)
class Moved:
    """Where images were and are.

    Attributes:
        what: collection, or database and side.
        before, after: the folders.
        images: files that were indexed.
        missing: those that are not in the folder, made printable.
    """

    what: str
    before: str
    after: str
    images: int
    missing: tuple[str, ...]


def relocate_collection(folder: Path, root: Path) -> Moved:
    """Take the images of a collection from another folder from now on; nothing is computed again.

    Args:
        folder: of the collection.
        root: folder that the paths of its images are relative to.

    Raises:
        CollectionError: it is no collection.
        MovedError: the folder holds none of its images, or others under their names.
        Locked: another process holds the collection.
    """
    with locked(Collection(folder).folder):
        collection = Collection(folder)
        found = _found(str(folder), collection.manifest.source, root, collection.images.to_pylist())
        replace(collection.manifest, source=found.after).write(folder)
    return found


def relocate_runs(store: Store, role: str, root: Path) -> Moved:
    """Take the real or the generated images of the latest run, and of others with the same folder, from another folder.

    Args:
        store: open for writing.
        role: ``real`` or ``generated``.
        root: folder that the paths of the images are relative to.

    Raises:
        StoreError: there is no run.
        MovedError: as of `relocate_collection`.
    """
    run = store.known_run()
    query = "SELECT path, sha256, mode FROM images WHERE run_id = $run AND role = $role ORDER BY image_id"
    entries = store.sql(query, {"run": run, "role": role}).to_pylist()
    sources = store.sql("SELECT real_source AS real, generated_source AS generated FROM runs WHERE run_id = $run", {"run": run})
    found = _found(f"{role} images of {store.path}", sources[role][0].as_py(), root, entries)
    store.relocate(role, found.before, found.after)
    return found


def _found(what: str, before: str, root: Path, entries: Iterable[Mapping[str, Any]]) -> Moved:
    """Look for the images; of some the bytes."""
    root = root.absolute()
    plain: dict[str, str] = {}
    paths: dict[str, bool] = {}
    for entry in entries:
        path = root / entry["path"]
        if entry["path"] not in paths:
            paths[entry["path"]] = path.exists() or split(str(path)) is not None
        if paths[entry["path"]] and path.is_file() and not entry["mode"].startswith("array "):
            plain[entry["path"]] = entry["sha256"]
    gone = tuple(path for path, there in paths.items() if not there)
    if paths and len(gone) == len(paths):
        example = f"{many(len(gone), 'image')}, such as {gone[0]!r}; name the folder that this path starts from"
        raise MovedError(f"{printable(str(root))} holds none of the {example}")
    for path in list(plain)[:: max(1, len(plain) // _HASHED)]:
        if hashed(root / path)[0] != plain[path]:
            raise MovedError(f"{printable(str(root / path))} is another image than the one that was indexed")
    return Moved(what, before, printable(str(root)), len(paths), gone)
