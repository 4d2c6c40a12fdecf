"""Copy sharded collections to and from object stores: s3://, gs:// and whatever else fsspec knows. Only this file imports fsspec.

A store has the files of a collection under the same names. A shard's manifest goes last, and `shards.json` after all shards: so
what a killed copy leaves is never taken for whole, and the next one copies only what is missing. The salt stays where it is: with
it one can try patients' names.
"""

import hashlib
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from embeddings.errors import SynthtraceError
from embeddings.extras import installing
from embeddings.files.writing import FullDisk, full_disk_named, make_folder, write_atomic, write_bytes
from indexer.build.build import Progress, silent
from indexer.collection import Collection
from indexer.execution.executor import Executor, Resources
from indexer.execution.in_process import InProcess
from indexer.files import BLOCK, LOCK, locked, sha256_of
from indexer.manifest import NAME as MANIFEST
from indexer.manifest import CollectionError, Manifest
from indexer.manifest import make_folder as make_new_folder
from indexer.sharded.collection import ShardedCollection
from indexer.sharded.manifest import FITTED, NAME, ShardedManifest

_MEMORY = 1 << 28  # bytes that copying a shard takes: a block of a file, and what the store's library holds


class StoreError(SynthtraceError):
    """An object store cannot be reached, lacks a file, or needs a further package; the message names it."""


@dataclass(frozen=True)
class Store:
    """A prefix in an object store, such as ``s3://bucket/collection``; needs s3fs for s3://, gcsfs for gs://.

    Raises:
        StoreError: the address looks like one and is none.
    """

    url: str

    def __post_init__(self) -> None:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:(?!//)", self.url):  # fsspec would take it for a folder's name
            raise StoreError(f"{self.url}: an address has two slashes behind its colon, as in s3://bucket/collection")

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, str]]:
        """File system and prefix; whatever goes wrong there is told with the address."""
        try:
            files, prefix = self._found()
            yield files, prefix.rstrip("/")
        except (SynthtraceError, FullDisk):
            raise
        except Exception as error:  # each store has errors of its own
            raise StoreError(f"{self.url}: {_text(error)}") from error

    def _found(self) -> tuple[Any, str]:
        """File system and prefix.

        Raises:
            StoreError: fsspec is not installed.
        """
        try:
            import fsspec
        except ImportError as error:
            raise StoreError(f"{self.url} needs fsspec: {installing('distributed')}") from error
        found: tuple[Any, str] = fsspec.core.url_to_fs(self.url)  # its error names the package that is missing
        return found

    def check_usable(self) -> None:
        """Write an object, list, read and delete it: what `push` needs is known before shards are made.

        Raises:
            StoreError: see `read`; or one of these is not allowed.
        """
        with self._opened() as (files, prefix):
            name, content = f"{prefix}/probe-{secrets.token_hex(8)}", secrets.token_bytes(8)
            if "file" in files.protocol:
                make_folder(Path(prefix))
            files.pipe_file(name, content)
            listed = {found.rpartition("/")[2] for found in files.ls(prefix, detail=False)}
            if name.rpartition("/")[2] not in listed or files.cat_file(name) != content:
                raise StoreError(f"{self.url}: what was written there is not there")
            files.rm_file(name)

    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none.

        Raises:
            StoreError: the store does not answer.
        """
        with self._opened() as (files, prefix):
            try:
                content: bytes = files.cat_file(f"{prefix}/{name}")
                return content
            except FileNotFoundError:
                return None

    def put(self, name: str, path: Path) -> None:
        """Copy a file there.

        Raises:
            StoreError: see `read`.
        """
        with self._opened() as (files, prefix):
            target = f"{prefix}/{name}"
            if "file" in files.protocol:  # others have no folders; some would make a bucket
                make_folder(Path(target).parent)
            files.put_file(str(path), target)

    def get(self, name: str, path: Path, sha256: str) -> None:
        """Copy a file from there, whole or not at all.

        Raises:
            StoreError: see `read`; or its bytes are not those that were written.
            FullDisk: no space left.
        """
        digest, mend = hashlib.sha256(), "copy the collection there again (index --store)"

        def write(file: BinaryIO) -> None:
            try:
                with files.open(f"{prefix}/{name}", "rb") as content:
                    while block := content.read(BLOCK):
                        digest.update(block)
                        file.write(block)
            except FileNotFoundError as error:
                raise StoreError(f"{self.url}/{name}: it is not there; {mend}") from error
            if digest.hexdigest() != sha256:
                raise StoreError(f"{self.url}/{name}: its bytes are not those that were written; {mend}")

        make_folder(path.parent)
        with self._opened() as (files, prefix), full_disk_named(path.parent):
            write_atomic(path, write)

    def remove_shards_but(self, kept: Sequence[str]) -> None:
        """Delete the shards that are not among these."""
        with self._opened() as (files, prefix):
            for found in files.ls(prefix, detail=False):
                name = found.rstrip("/").rpartition("/")[2]
                if name.startswith("shard-") and name not in kept:
                    files.rm(found, recursive=True)


def _text(error: Exception) -> str:
    """What went wrong, on one line; s3fs and gcsfs say of some errors only an address or a word."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return f"there is no such bucket or folder ({text})"
    if isinstance(error, PermissionError):
        return f"access is refused ({text}); check the credentials and their rights"
    return text


def push(folder: Path, url: str, *, executor: Executor | None = None, progress: Progress = silent) -> None:
    """Copy a finished sharded collection to an object store; what is there already stays.

    Args:
        folder: of the collection.
        url: where to; what lies there of another collection is replaced.
        executor: where shards are copied; default in this process.
        progress: called with stage, shards done, shards in all.

    Raises:
        CollectionError: the collection is unfinished, or a shard is missing.
        StoreError: the store does not answer.
    """
    collection, store = ShardedCollection(folder), Store(url)
    for part in (collection.fitted, *collection.shards):
        part.check_unchanged()  # each is there, and the one that the manifest knows
    known = _known(collection.manifest)
    _each(partial(_push_shard, folder, store), known, executor, progress)
    store.put(NAME, folder / NAME)
    store.remove_shards_but([name for name, _ in known])


def pull(url: str, folder: Path, *, executor: Executor | None = None, progress: Progress = silent) -> ShardedCollection:
    """Copy a sharded collection from an object store; what is there already and the same stays.

    Args:
        url: of the collection.
        folder: a new or empty folder, or one that this was begun in.
        executor, progress: see `push`.

    Raises:
        CollectionError: the folder holds something else.
        StoreError: there is no sharded collection, a file is missing or damaged, or the store does not answer.
        FullDisk: no space left.
        Locked: another process works in the folder.
    """
    store = Store(url)
    text = store.read(NAME)
    if text is None:
        raise StoreError(f"{url} is no collection in shards: it has no {NAME}, or there is no such bucket")
    manifest = ShardedManifest.of_text(text.decode("utf-8", "replace"), f"{url}/{NAME}")
    names = make_new_folder(folder)
    if names and LOCK not in names:
        raise CollectionError(f"{folder} is not empty and no collection (it holds {names[0]}); name a new folder")
    known = _known(manifest)
    with locked(folder):
        _each(partial(_pull_shard, folder, store), known, executor, progress)
        write_bytes(folder / NAME, text)
        for stale in folder.glob("shard-*"):
            if stale.name not in {name for name, _ in known}:
                shutil.rmtree(stale, ignore_errors=True)
    return ShardedCollection(folder)


def _known(manifest: ShardedManifest) -> list[tuple[str, str]]:
    """Folder and SHA-256 (hex) of the manifest of each part."""
    return [(FITTED, manifest.fitted), *((shard.name, shard.manifest) for shard in manifest.whole)]


def _each(
    work: Callable[[tuple[str, str]], None], items: Sequence[tuple[str, str]], executor: Executor | None, progress: Progress
) -> None:
    copied = (executor or InProcess()).map(work, items, resources=Resources(memory=_MEMORY))
    for done, _ in enumerate(copied, 1):
        progress("copying shards", done, len(items))


def _push_shard(collection: Path, store: Store, known: tuple[str, str]) -> None:
    """Copy one shard, its manifest last."""
    name, sha256 = known
    folder = collection / name
    if hashlib.sha256(store.read(f"{name}/{MANIFEST}") or b"").hexdigest() == sha256:
        return
    for path in Manifest.read(folder).files:
        store.put(f"{name}/{path}", folder / path)
    store.put(f"{name}/{MANIFEST}", folder / MANIFEST)


def _pull_shard(folder: Path, store: Store, known: tuple[str, str]) -> None:
    """Copy one shard, its manifest last, so that a whole one is known by it."""
    name, sha256 = known
    place = folder / name
    with suppress(OSError, CollectionError):
        if sha256_of(place / MANIFEST) == sha256 and not Collection(place).check():
            return
    (place / MANIFEST).unlink(missing_ok=True)
    beside = place / "next"
    make_folder(place)  # before what is in it: for its owner only
    store.get(f"{name}/{MANIFEST}", beside / MANIFEST, sha256)
    for path, digest in Manifest.read(beside).files.items():
        store.get(f"{name}/{path}", place / path, digest)
    (beside / MANIFEST).replace(place / MANIFEST)
    shutil.rmtree(beside)
