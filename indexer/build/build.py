"""Build a collection: find, hash, fit, embed, index. Every step reuses the results of an interrupted or earlier build."""

import hashlib
import json
import os
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from heapq import nsmallest
from pathlib import Path
from typing import Any

import numpy as np

from embeddings.files.writing import full_disk_named
from embeddings.images import workers
from embeddings.images.containers.names import split
from embeddings.images.decode import SECONDS, decode_all
from embeddings.images.decoding import Decoding, Frame
from embeddings.images.errors import printable
from embeddings.images.find import Source, find
from embeddings.images.orientation import Orientation
from embeddings.images.workers import Decoded, Request
from embeddings.pipeline import FileResult, embed, in_order, one_thread_each, see
from embeddings.types import Embedder, Features, View
from embeddings.views.registry import VIEWS, learns, make_view, with_defaults
from indexer.build.commit import Origin, clear_up, finish_swap, versions, write_next
from indexer.build.files import File, Look, look
from indexer.build.parts import Arrays, Parts
from indexer.build.sources import Place, collection_places, content_key
from indexer.collection import Collection
from indexer.device import choose_device_to_index
from indexer.files import LOCK, locked
from indexer.manifest import NAME as MANIFEST
from indexer.manifest import CollectionError, Manifest, make_folder
from indexer.salt import Salt, salt_for
from indexer.types import IndexSpec

# Files embedded between two writes: what a kill can cost each core. Fewer where they are large: they may be volumes.
CHUNK = 128
CHUNK_BYTES = 64 << 20
HASHED = 64  # files that a core hashes at a time

Progress = Callable[[str, int, int], None]  # stage, done, total


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Settings:
    """All that decides the vectors and indexes of a collection.

    Attributes:
        views: name -> options, see `embeddings.views.registry.VIEWS`; missing options take their defaults.
        decoding: how pixels are decoded.
        index: how indexes are made.
        sample_size: images that the views learn from.
        seed: of the sample.
        orientation: how images are turned or flipped before they are embedded.

    Raises:
        ValueError: unknown view or option, or no view at all.
    """

    views: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {name: {} for name in VIEWS})
    decoding: Decoding = field(default_factory=Decoding)
    index: IndexSpec = field(default_factory=IndexSpec)
    sample_size: int = 2000
    seed: int = 0
    orientation: Orientation = Orientation.AS_IS

    def __post_init__(self) -> None:
        if not self.views:
            raise ValueError("at least one view is needed")
        if self.sample_size <= 0:
            raise ValueError(f"sample_size must be positive, got {self.sample_size}")
        views = with_defaults(self.views)
        object.__setattr__(self, "views", {name: views[name] for name in sorted(views)})  # no result depends on their order

    @classmethod
    def of(cls, manifest: Manifest, orientation: Orientation | None = None) -> "Settings":
        """The settings a collection was made with; with another orientation, those of images that are to be compared with it."""
        return cls(
            {name: entry.options for name, entry in manifest.views.items()},
            Decoding(**manifest.decoding),
            IndexSpec(**manifest.index),
            manifest.sample["size"],
            manifest.sample["seed"],
            manifest.orientation if orientation is None else orientation,
        )


def build(
    folder: str | Path,
    *inputs: str | Path | Source,
    settings: Settings | None = None,
    fitted_on: Collection | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Collection:
    """Make the collection in `folder` from images, or bring it up to date with them.

    Args:
        folder: of the collection; new, empty, unfinished or finished.
        inputs: what `embeddings.images.find.find` takes.
        settings: default `Settings()`, or those of `fitted_on` for images as they are, or those of the collection that is there.
        fitted_on: see these images exactly as that collection sees its own; without it, views learn from these images. An
            approximate index of the same kind takes its centroids too: a few real images could not train one.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``.
        progress: called with stage, images done, images in all.

    Raises:
        NoImages: the inputs name no image.
        CollectionError: the folder holds something else, or a collection with other settings.
        Locked: another process is indexing into the folder.
        FullDisk: no space left; what is finished stays.
        NoGpu: CUDA asked for and not there.
        IndexProblem: FAISS cannot make the index that `settings` name.
        WeightsError: the network's weights cannot be had (`embeddings.views.resnet`).
        SaltError: the salt that patients are hashed with cannot be used (`indexer.salt`).
    """
    with _claimed(folder, inputs) as (place, source):
        old = _old_collection(place, fitted_on, settings)
        teacher = old if fitted_on is None else fitted_on
        chosen = _first_settings(place, settings) if teacher is None else settings_of(teacher, settings, new=old is not teacher)
        salt = salt_for(place, fitted_on.folder if fitted_on else None)
        if old is not None and old.manifest.salt not in ("", salt.fingerprint):
            old = None  # its patients are hashed with another salt, and the identifiers are in the files only
        return _Build(place, source, chosen, _views_of(chosen, device), teacher, old, salt, progress).run()


def refit(
    folder: str | Path,
    *inputs: str | Path | Source,
    settings: Settings | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Collection:
    """As `build`, but fit the views anew where the collection exists already, and take other settings.

    Args:
        folder, inputs, device, progress: see `build`.
        settings: default those of the collection that is there, or `Settings()`.

    Raises:
        NoImages, CollectionError, Locked, FullDisk, NoGpu, IndexProblem, WeightsError, SaltError: see `build`.
    """
    with _claimed(folder, inputs) as (place, source):
        chosen = _first_settings(place, settings)
        views, salt = _views_of(chosen, device), salt_for(place, None)
        return _Build(place, source, chosen, views, None, None, salt, progress).run()


def fit_sample(
    folder: Path, source: Source, files: Sequence[File], settings: Settings, device: str = "auto", progress: Progress = silent
) -> Collection:
    """Fit the views on the sample of files that `build` would draw, and make the collection of that sample in `folder`.

    Args:
        folder: of the collection; what was finished there is made anew. Patients are hashed with the salt of the folder above.
        source: where the files are.
        files: with their hashes, in any order.
        settings, device, progress: see `build`.

    Raises:
        CollectionError, Locked, FullDisk, NoGpu, IndexProblem, WeightsError, SaltError: see `build`.
    """
    with _claimed(folder, [source]) as (place, source):
        salt = salt_for(place, place.parent)
        return _Build(place, source, settings, _views_of(settings, device), None, None, salt, progress).fit_on(files)


def build_shard(
    folder: Path, source: Source, files: Sequence[File], fitted: Collection, device: str = "auto", progress: Progress = silent
) -> Collection:
    """Make the collection of some files by views that are fitted, or bring it up to date; a damaged one is made anew.

    Args:
        folder: of the collection.
        source: where the files are.
        files: with their hashes, in the order of their rows.
        fitted: made by `fit_sample`; vectors of images that it holds are taken from there.
        device, progress: see `build`.

    Raises:
        CollectionError, Locked, FullDisk, NoGpu, IndexProblem, WeightsError, SaltError: see `build`.
    """
    with _claimed(folder, [source]) as (place, source):
        try:
            old = _old_collection(place, fitted, None)
        except CollectionError:
            old = None
        salt, chosen = salt_for(place, fitted.folder), Settings.of(fitted.manifest)
        if old is not None and (old.manifest.salt not in ("", salt.fingerprint) or Settings.of(old.manifest) != chosen):
            old = None
        return _Build(place, source, chosen, _views_of(chosen, device), fitted, old, salt, progress, fitted).run_on(files)


@contextmanager
def _claimed(folder: str | Path, inputs: Sequence[str | Path | Source]) -> Iterator[tuple[Path, Source]]:
    """The folder, locked and without what a killed build left half swapped in, and the files that the inputs name."""
    workers.start()
    source = find(*inputs)
    place = Path(folder)
    _claim(place)
    with full_disk_named(place), locked(place):
        finish_swap(place)
        yield place, source


def _claim(folder: Path) -> None:
    """Make the folder, or see that it is one of ours: what is in the way there will be overwritten."""
    names = make_folder(folder)
    links = [name for name in names if (folder / name).is_symlink()]
    if links:
        raise CollectionError(f"{folder / links[0]} is a link; what is written through it would land elsewhere: remove it")
    if not names or LOCK in names:
        return
    if MANIFEST not in names:
        raise CollectionError(f"{folder} is not empty and no collection (it holds {names[0]}); name a new folder")
    Manifest.read(folder)  # a manifest.json is not always ours


def _old_collection(folder: Path, fitted_on: Collection | None, settings: Settings | None) -> Collection | None:
    """The finished collection in the folder, if its vectors can be used again."""
    if not (folder / MANIFEST).exists():
        return None
    old = Collection(folder)
    problems = old.check()
    if problems:
        raise CollectionError(f"{problems[0]}; make the collection anew with --refit, or name a new folder")
    there = old.manifest.orientation
    asked = settings.orientation if settings else Orientation.AS_IS if fitted_on else there
    if there != asked:
        how = f"holds images under orientation {there}, not {asked}"
        raise CollectionError(f"the collection in {folder} {how}; name a new folder, or make it anew with --refit")
    if fitted_on is None or all(
        view in old.views and old.spec(view).fingerprint == fitted_on.spec(view).fingerprint for view in fitted_on.views
    ):
        return old
    return None  # made for another collection: nothing of it can be used


def settings_of(teacher: Collection, asked: Settings | None, new: bool) -> Settings:
    """The settings of the collection whose fitted views are used; given ones must not contradict them.

    Args:
        teacher: the collection.
        asked: settings; None for those of the teacher.
        new: another collection is made, which may have an orientation of its own.
    """
    own = (asked.orientation if asked else Orientation.AS_IS) if new else None
    base = Settings.of(teacher.manifest, own)
    if asked is not None and asked != base:
        ours, theirs = _flat(asdict(asked)), _flat(asdict(base))
        names = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
        differing = [f"{name}: {ours.get(name, 'nothing')} asked for, {theirs.get(name, 'nothing')} there" for name in names]
        mend = "use its settings, a new folder, or --refit"
        raise CollectionError(f"{teacher.folder} was made with other settings ({'; '.join(differing)}); {mend}")
    return base


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return flat


def _first_settings(folder: Path, asked: Settings | None) -> Settings:
    """Settings to learn anew with: those given, or of the collection that is replaced if that can be read, or the defaults."""
    try:
        return asked or Settings.of(Manifest.read(folder))
    except CollectionError:
        return Settings()


def _views_of(settings: Settings, device: str) -> dict[str, View]:
    """The views before they are fitted, on the device."""
    where = choose_device_to_index(device, settings.views)
    return {name: make_view(name, options, settings.decoding, where.network) for name, options in settings.views.items()}


@dataclass(frozen=True)
class _Build:
    """One run of `build`, step by step."""

    folder: Path
    source: Source
    settings: Settings
    views: Mapping[str, View]
    teacher: Collection | None  # whose learned arrays are used; None: learn from these images
    old: Collection | None  # whose vectors are used again
    salt: Salt
    progress: Progress
    sample: Collection | None = None  # whose vectors are used too

    def run(self) -> Collection:
        learned = self._learned_elsewhere()
        if learned is not None and self.old is None:
            embedders = self._embedders(learned)
            parts = Parts(self.folder / "parts", self._stamp(embedders))
            if not parts.places():
                files, source, errors = self._embed_at_once(parts, embedders)
                return self._commit(source, files, parts.places(), errors, self._origin(embedders, learned))
        files, source = self._hash(self.source.files)
        if self.old is not None and self._unchanged(self.old, files, {}):
            return self._as_it_was(self.old)
        if learned is None:
            sample_parts = Parts(self.folder / "parts", self._stamp({}))
            learned = self._learn(sample_parts, files)
            embedders = self._embedders(learned)
            # Vectors have a stamp of their own: another sample may have been drawn since some of them were made.
            parts = Parts(self.folder / "parts", self._stamp(embedders))
            self._finish_sample(sample_parts, parts, files, embedders)
        else:
            embedders = self._embedders(learned)
            parts = Parts(self.folder / "parts", self._stamp(embedders))
        return self._complete(parts, files, source, self._origin(embedders, learned))

    def run_on(self, files: Sequence[File]) -> Collection:
        """The same for files that were hashed elsewhere, with what the teacher learned."""
        learned = self._learned_elsewhere()
        if learned is None:
            raise ValueError("the views have to be fitted first")
        if self.old is not None and self._unchanged(self.old, files, {}):
            return self._as_it_was(self.old)
        embedders = self._embedders(learned)
        parts = Parts(self.folder / "parts", self._stamp(embedders))
        return self._complete(parts, files, self.source, self._origin(embedders, learned))

    def fit_on(self, files: Sequence[File]) -> Collection:
        """Fit the views on a sample of the files, and make the collection of that sample."""
        learned = self._learned_elsewhere()
        if learned is not None:  # there is nothing to learn
            return self._commit(self.source, [], {}, {}, self._origin(self._embedders(learned), learned))
        sample, sample_parts = sample_of(files, self.settings), Parts(self.folder / "parts", self._stamp({}))
        learned = self._learn(sample_parts, files)
        embedders = self._embedders(learned)
        parts = Parts(self.folder / "parts", self._stamp(embedders))
        self._finish_sample(sample_parts, parts, files, embedders)
        places = parts.places()
        used = in_order_of_rows(_used(sample, places, self.settings.sample_size))
        errors = {file.key: "it could not be read when the sample was drawn" for file in used if file.key not in places}
        return self._commit(self.source, used, places, errors, self._origin(embedders, learned))

    def _complete(self, parts: Parts, files: Sequence[File], source: Source, origin: Origin) -> Collection:
        """Embed what is missing and commit."""
        errors = self._embed(parts, files, origin.embedders)
        if self.old is not None and self._unchanged(self.old, files, errors):
            return self._as_it_was(self.old)
        return self._commit(source, files, {**self._ready, **parts.places()}, errors, origin)

    def _origin(self, embedders: Mapping[str, Embedder], learned: Mapping[str, Arrays]) -> Origin:
        trained = self.sample or (None if self.teacher is self.old else self.teacher)
        return Origin(self.views, embedders, learned, asdict(self.settings), self.salt, trained)

    def _commit(
        self, source: Source, files: Sequence[File], places: Mapping[str, Place], errors: Mapping[str, str], origin: Origin
    ) -> Collection:
        write_next(self.folder, source, files, places, errors, origin)
        finish_swap(self.folder)
        return Collection(self.folder)

    def _stamp(self, embedders: Mapping[str, Embedder]) -> str:
        """Identifies what decides the parts: of features without embedders, of vectors with them."""
        views = {name: [self.settings.views[name], view.weights, view.precision] for name, view in self.views.items()}
        learned = {name: embedder.spec.fingerprint for name, embedder in embedders.items()}
        what = [views, asdict(self.settings.decoding), self.settings.orientation, versions(), learned, self.salt.fingerprint]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def _embedders(self, learned: Mapping[str, Arrays]) -> dict[str, Embedder]:
        """The views with what they learned; refuses before the long work what could only fail after it."""
        from indexer.search.faiss_index import empty

        embedders = {name: view.embedder(learned[name]) for name, view in self.views.items()}
        for embedder in embedders.values():
            empty(embedder.spec, self.settings.index)
            if self.teacher is not None:
                self.teacher.recognise(embedder.spec)
        return embedders

    def _hash(self, names: Sequence[str]) -> tuple[list[File], Source]:
        """Files with their content keys, and the broken ones, sorted; the source with what files of many pictures leave aside."""

        def at(names: Sequence[str]) -> list[Look]:
            return [look(self.source.root, name, self.settings.decoding) for name in names]

        found: list[File] = []
        ignored: list[str] = []
        done = 0
        for looks in in_order(at, [names[start : start + HASHED] for start in range(0, len(names), HASHED)]):
            for seen in looks:
                found += seen.files
                ignored += seen.ignored
            done += len(looks)
            self.progress("hashing", done, len(names))
        found += [File(path, "", 0, reason) for path, reason in self.source.broken]
        return in_order_of_rows(found), self.source.with_ignored(ignored)

    def _unchanged(self, old: Collection, files: Sequence[File], errors: Mapping[str, str]) -> bool:
        """Whether the collection is of exactly these files, and those of them that cannot be read still cannot."""
        here = printable(str(self.source.root)), printable(self.source.base)
        if (old.manifest.source, old.manifest.base) != here or Settings.of(old.manifest) != self.settings:
            return False
        columns = (old.table[name].to_pylist() for name in ("path", "sha256", "error"))
        there = {(path, sha256, error or "") for path, sha256, error in zip(*columns, strict=True)}
        return there == {(printable(file.path), file.sha256, file.reason(errors)) for file in files}

    def _as_it_was(self, old: Collection) -> Collection:
        clear_up(self.folder, old.manifest)
        return old

    def _read(self, files: Sequence[File]) -> Generator[Decoded, None, None]:
        """Their contents, patients hashed; no other bytes are decoded than those that were hashed, if they were."""
        root, decoding = str(self.source.root), self.settings.decoding
        requests = [Request(os.path.join(root, file.path), decoding, file.sha256, SECONDS, file.frame) for file in files]
        with closing(decode_all(requests)) as contents:
            for content in contents:
                content.frames = map(self._without_patient, content.frames)
                yield content

    def _without_patient(self, frame: Frame) -> Frame:
        return replace(frame, patient=self.salt.of_patient(frame.patient)) if frame.patient else frame

    # Learning

    def _learned_elsewhere(self) -> Mapping[str, Arrays] | None:
        """What each view learned, where these images have no part in it: from the teacher, or nothing."""
        if self.teacher is not None:
            return {name: self.teacher.learned(name) for name in self.views}
        return None if any(map(learns, self.views)) else {name: {} for name in self.views}

    def _learn(self, parts: Parts, files: Sequence[File]) -> dict[str, Arrays]:
        """What each view learned: from an interrupted run, or now from a sample of these images."""
        sample = sample_of(files, self.settings)
        digest = sample_digest(sample)
        learned = parts.learned(digest, self.views)
        if learned is None:
            learned = self._fit(parts, _chunks(sample))
            parts.write_learned(digest, learned)
        return learned

    def _fit(self, parts: Parts, sample: Sequence[Sequence[File]]) -> dict[str, Arrays]:
        """Features of the sample, chunk by chunk and kept, until there are enough images; then what each view makes of them."""
        from indexer.search.faiss_index import kmeans

        wanted = self.settings.sample_size

        def look(chunk: Sequence[File]) -> int:
            keys = _keys(chunk)
            if parts.features(keys, []) is None:
                seen = see(chunk, self.views, self._read, self.settings.orientation)
                parts.add_features(keys, seen.files, seen.features)
            features = parts.features(keys, [])
            return sum(len(file.frames) for file in features.files) if features else 0

        images, used, total = 0, 0, sum(map(len, sample))
        with closing(in_order(look, sample)) as counts:
            while images < wanted and used < len(sample):
                images, used = images + next(counts), used + 1
                self.progress("looking at a sample", min(images, total), total)
        learned: dict[str, Arrays] = {}
        for number, (name, view) in enumerate(self.views.items(), 1):
            features = [seen.features[name] for chunk in sample[:used] if (seen := parts.features(_keys(chunk), [name]))]
            with one_thread_each():  # else what is learned, and with it every vector, depends on the number of cores
                learned[name] = view.fit(_first(features or [view.features([])], wanted), kmeans)
            self.progress("learning", number, len(self.views))
        return learned

    def _finish_sample(self, sample_parts: Parts, parts: Parts, files: Sequence[File], embedders: Mapping[str, Embedder]) -> None:
        """The features that were kept of the sample become vectors, so that no image is decoded twice."""

        def work(chunk: Sequence[File]) -> None:
            if seen := sample_parts.features(_keys(chunk), embedders):
                parts.add(seen.keys, seen.files, {name: e.finish(seen.features[name]) for name, e in embedders.items()})

        for _ in in_order(work, _chunks(sample_of(files, self.settings))):
            pass
        sample_parts.drop_features()

    # Embedding

    def _embed(self, parts: Parts, files: Sequence[File], embedders: Mapping[str, Embedder]) -> dict[str, str]:
        """Vectors of all contents not known yet go to parts; gives content key -> error of those that cannot be decoded."""
        known = {**self._ready, **parts.places()}
        todo = _todo(files, known)
        done = len({file.key for file in files if file.key}) - len(todo)
        total = done + len(todo)

        def work(chunk: Sequence[File]) -> Sequence[FileResult]:
            embedded = embed(chunk, embedders, self._read, self.settings.orientation)
            parts.add(_keys(chunk), embedded.files, embedded.embeddings)
            return embedded.files

        errors: dict[str, str] = {}
        for chunk, results in zip(_chunks(todo), in_order(work, _chunks(todo)), strict=True):
            errors |= {file.key: result.error for file, result in zip(chunk, results, strict=True) if result.error}
            done += len(chunk)
            self.progress("embedding", done, total)
        return errors

    def _embed_at_once(self, parts: Parts, embedders: Mapping[str, Embedder]) -> tuple[list[File], Source, dict[str, str]]:
        """Hash and embed all files, each read once; as `_hash` and `_embed`. Files of many pictures are looked into first."""
        root = str(self.source.root)
        names = [name for name in self.source.files if not split(os.path.join(root, name))]
        single = set(names)
        found, source = self._hash([name for name in self.source.files if name not in single])
        errors = self._embed(parts, found, embedders)

        def work(chunk: Sequence[File]) -> tuple[list[File], dict[str, str]]:
            embedded = embed(chunk, embedders, self._read, self.settings.orientation)
            files = [self._hashed(file.path, result) for file, result in zip(chunk, embedded.files, strict=True)]
            parts.add(_keys(files), embedded.files, embedded.embeddings)
            results = zip(files, embedded.files, strict=True)
            return files, {file.key: result.error for file, result in results if file.key and result.error}

        done = 0
        for files, reasons in in_order(work, _chunks([File(name, "", _size(os.path.join(root, name))) for name in names])):
            found += files
            errors |= reasons
            done += len(files)
            self.progress("embedding", done, len(names))
        return in_order_of_rows(found), source, errors

    def _hashed(self, name: str, result: FileResult) -> File:
        """A file that was read, with its key; one that could not be decoded may still be read."""
        if result.sha256:
            return File(name, content_key(result.sha256, name), result.size)
        return look(self.source.root, name, self.settings.decoding).files[0]

    @cached_property
    def _ready(self) -> Mapping[str, Place]:
        """Content key -> place of what the finished collection holds, and the sample."""
        ready = [each for each in (self.sample, self.old) if each is not None]
        return {key: place for each in ready for key, place in collection_places(each).items()}


def sample_of(files: Sequence[File], settings: Settings) -> list[File]:
    """Files drawn by content, so that neither names nor order decide: views learn from the first images in them."""
    seed = str(settings.seed)

    def drawn(file: File) -> bytes:
        return hashlib.sha256(f"{seed} {file.sha256}".encode()).digest()

    return nsmallest(settings.sample_size, _todo(files, {}), key=drawn)


def sample_digest(sample: Sequence[File]) -> str:
    """SHA-256 (hex) that tells one sample from another."""
    return hashlib.sha256("\n".join(file.key for file in sample).encode()).hexdigest()


def _todo(files: Sequence[File], known: Container[str]) -> list[File]:
    """One file for each content that is not known yet."""
    first: dict[str, File] = {}
    for file in files:
        if file.key and file.key not in known:
            first.setdefault(file.key, file)
    return list(first.values())


def _used(sample: Sequence[File], places: Mapping[str, Place], images: int) -> list[File]:
    """The files of a sample that were looked at until there were so many images."""
    used: list[File] = []
    count = 0
    for chunk in _chunks(sample):
        if count >= images:
            break
        used += chunk
        count += sum(len(places[file.key].frames) for file in chunk if file.key in places)
    return used


def _chunks(files: Sequence[File]) -> list[Sequence[File]]:
    """Consecutive files, at most `CHUNK` of them and, unless it is one file, `CHUNK_BYTES` together."""
    chunks: list[list[File]] = []
    size = 0
    for file in files:
        if not chunks or len(chunks[-1]) == CHUNK or size + file.size > CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(file)
        size += file.size
    return list(chunks)


def _size(path: str) -> int:
    """Of a file, in bytes; 0 where it cannot be told, which whoever reads it will say."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def in_order_of_rows(files: Iterable[File]) -> list[File]:
    return sorted(files, key=lambda file: (file.path, file.frame.number if file.frame else 0))


def _keys(files: Sequence[File]) -> list[str]:
    return [file.key for file in files]


def _first(parts: Sequence[Features], count: int) -> Features:
    """The first `count` of the features of several chunks."""
    values = [value for part in parts for value in part.values][:count]
    return Features(values, np.concatenate([part.blank for part in parts])[:count])
