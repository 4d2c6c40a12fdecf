"""Making a collection: find, hash, learn, embed, index. Every step picks up what an earlier, killed or smaller run has left."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from embeddings.find import Source, find
from embeddings.images import Decoding, printable
from embeddings.pipeline import Seen, in_order, see, workers
from embeddings.registry import VIEWS, make_view, with_defaults
from embeddings.types import Embedder, Features, View
from indexer.assemble import File, Made, finish_swap, versions, write_next
from indexer.collection import Collection
from indexer.device import choose_device
from indexer.files import locked, sha256_of
from indexer.manifest import NAME as MANIFEST
from indexer.manifest import CollectionError, Manifest
from indexer.parts import Arrays, Parts
from indexer.shelves import Place, collection_places, content_key
from indexer.types import IndexSpec

CHUNK = 128  # files embedded between two writes: what a kill can cost each core

Progress = Callable[[str, int, int], None]  # stage, done, total


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Settings:
    """All that decides the vectors and indexes of a collection.

    Attributes:
        views: name -> options, see `embeddings.registry.VIEWS`; missing options take their defaults.
        decoding: how pixels are decoded.
        index: how indexes are made.
        sample_size: images that the views learn from.
        seed: of the sample.

    Raises:
        ValueError: unknown view or option, or no view at all.
    """

    views: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {name: {} for name in VIEWS})
    decoding: Decoding = field(default_factory=Decoding)
    index: IndexSpec = field(default_factory=IndexSpec)
    sample_size: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.views:
            raise ValueError("at least one view is needed")
        if self.sample_size <= 0:
            raise ValueError(f"sample_size must be positive, got {self.sample_size}")
        object.__setattr__(self, "views", with_defaults(self.views))

    @classmethod
    def of(cls, manifest: Manifest) -> "Settings":
        """The settings a collection was made with."""
        return cls(
            {name: entry.options for name, entry in manifest.views.items()},
            Decoding(**manifest.decoding),
            IndexSpec(**manifest.index),
            manifest.sample["size"],
            manifest.sample["seed"],
        )


def build(
    folder: str | Path,
    *inputs: str | Path,
    settings: Settings | None = None,
    like: Collection | None = None,
    mirrored: bool = False,
    refit: bool = False,
    device: str = "auto",
    progress: Progress = silent,
) -> Collection:
    """Make the collection in `folder` from images, or bring it up to date with them.

    Args:
        folder: of the collection; new, empty, unfinished or finished.
        inputs: what `embeddings.find.find` takes.
        settings: default `Settings()`, or those of `like`, or those of the collection that is there.
        like: see these images exactly as that collection sees its own; without it, views learn from these images.
        mirrored: index left-right flipped images instead.
        refit: learn anew, and take other settings, where the collection exists already.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        progress: called with stage, images done, images in all.

    Raises:
        NoImages: the inputs name no image.
        CollectionError: the folder holds something else, or a collection with other settings.
        Locked: another process is indexing into the folder.
        FullDisk: no space left; what is finished stays.
        NoGpu: CUDA asked for and not there.
    """
    source = find(*inputs)
    folder = Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder):
        _refuse_foreign(folder)
        finish_swap(folder)
        old = _old_collection(folder, like, refit)
        chosen = _choose_settings(settings, like, old)
        where = choose_device(device, network="resnet" in chosen.views)
        views = {name: make_view(name, options, chosen.decoding, where.network) for name, options in chosen.views.items()}
        return _Build(folder, source, chosen, views, like or old, old, mirrored, progress).run()


def _refuse_foreign(folder: Path) -> None:
    others = [path.name for path in folder.iterdir() if path.name not in (".lock", "parts", MANIFEST)]
    if others and not (folder / MANIFEST).exists() and not (folder / "parts").is_dir():
        raise CollectionError(f"{folder} is not empty and no collection (it holds {others[0]}); name a new folder")


def _old_collection(folder: Path, like: Collection | None, refit: bool) -> Collection | None:
    """The finished collection in the folder, if its vectors can be used again."""
    if refit or not (folder / MANIFEST).exists():
        return None
    old = Collection(folder)
    problems = old.verify()
    if problems:
        raise CollectionError(f"{problems[0]}; make the collection anew with --refit, or name a new folder")
    if like and any(view not in old.views or old.spec(view).fingerprint != like.spec(view).fingerprint for view in like.views):
        return None  # made for another collection: nothing of it can be used
    return old


def _choose_settings(given: Settings | None, like: Collection | None, old: Collection | None) -> Settings:
    """The settings that hold; given ones must not contradict what is there."""
    base = Settings.of(like.manifest) if like else Settings.of(old.manifest) if old else None
    if base is None:
        return given or Settings()
    if given and given != base:
        ours, theirs = asdict(given), asdict(base)
        differing = [f"{key}: {ours[key]} asked for, {theirs[key]} there" for key in ours if ours[key] != theirs[key]]
        mend = "use its settings, a new folder, or --refit"
        raise CollectionError(f"the collection was made with other settings ({'; '.join(differing)}); {mend}")
    return base


@dataclass(frozen=True)
class _Build:
    """One run of `build`, step by step."""

    folder: Path
    source: Source
    settings: Settings
    views: Mapping[str, View]
    teacher: Collection | None  # whose learned arrays are used; None: learn from these images
    old: Collection | None  # whose vectors are used again
    mirrored: bool
    progress: Progress

    def run(self) -> Collection:
        files = self._hash()
        if self.old and self._unchanged(self.old, files):
            return self.old
        parts = Parts(self.folder / "parts", self._stamp())
        learned = self._learn(parts, files)
        embedders = {name: view.embedder(learned[name]) for name, view in self.views.items()}
        errors = self._embed(parts, files, embedders)
        places = {**self._old_places(), **parts.places()}
        made = Made(self.views, embedders, learned, self.mirrored, asdict(self.settings))
        write_next(self.folder, self.source, files, places, errors, made)
        finish_swap(self.folder)
        return Collection(self.folder)

    def _stamp(self) -> str:
        """Identifies what decides the parts: settings, teacher and direction."""
        teacher = {view: self.teacher.spec(view).fingerprint for view in self.views} if self.teacher else {}
        what = [asdict(self.settings), teacher, self.mirrored, versions()]
        return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()

    def _hash(self) -> list[File]:
        """Every file with its content key."""

        def look(name: str) -> File:
            path = self.source.root / name
            try:
                return File(printable(name), content_key(sha256_of(path), name), path.stat().st_size)
            except OSError as error:
                return File(printable(name), "", 0, error.strerror or str(error))

        found = []
        with ThreadPoolExecutor(workers()) as pool:
            for done, file in enumerate(pool.map(look, self.source.files), 1):
                found.append(file)
                self.progress("hashing", done, len(self.source.files))
        broken = [File(path, "", 0, reason) for path, reason in self.source.broken]
        return sorted([*found, *broken], key=lambda file: file.path)

    def _unchanged(self, old: Collection, files: Sequence[File]) -> bool:
        """Whether the collection is of exactly these files, all of which could be read."""
        if old.manifest.source != str(self.source.root) or old.manifest.failed or old.manifest.mirrored != self.mirrored:
            return False
        columns = (old.table[name].to_pylist() for name in ("path", "sha256"))
        return sorted({*zip(*columns, strict=True)}) == [(file.path, file.sha256) for file in files]

    def _todo(self, files: Sequence[File], known: Mapping[str, Any]) -> list[File]:
        """One file for each content that is not known yet."""
        first: dict[str, File] = {}
        for file in files:
            if file.key and file.key not in known:
                first.setdefault(file.key, file)
        return list(first.values())

    def _see(self, chunk: Sequence[File], views: Mapping[str, View] | Mapping[str, Embedder]) -> Seen:
        names = {printable(name): name for name in self.source.files}
        return see([self.source.root / names[file.path] for file in chunk], self.settings.decoding, views, self.mirrored)

    # Learning

    def _learn(self, parts: Parts, files: Sequence[File]) -> dict[str, Arrays]:
        """What each view learned: from the teacher, from an interrupted run, or now from a sample of these images."""
        if self.teacher:
            return {name: self.teacher.learned(name) for name in self.views}
        sample = self._sample(files)
        digest = hashlib.sha256("\n".join(file.key for file in sample).encode()).hexdigest()
        learned = parts.learned(digest, self.views)
        if learned is None:
            learned = self._fit(parts, sample)
            parts.write_learned(digest, learned)
        self._finish_sample(parts, sample, learned)
        return learned

    def _sample(self, files: Sequence[File]) -> list[File]:
        """Files drawn by content, so that neither names nor order decide."""
        seed = str(self.settings.seed)
        drawn = sorted(self._todo(files, {}), key=lambda file: hashlib.sha256(f"{seed} {file.sha256}".encode()).digest())
        return drawn[: self.settings.sample_size]

    def _fit(self, parts: Parts, sample: Sequence[File]) -> dict[str, Arrays]:
        """Features of the sample, chunk by chunk and kept, then what each view makes of them."""
        from indexer.faiss_index import kmeans

        waiting = [chunk for chunk in _chunks(sample) if parts.features(_keys(chunk), []) is None]

        def work(chunk: Sequence[File]) -> None:
            seen = self._see(chunk, self.views)
            parts.add_features(_keys(chunk), seen.files, seen.features)

        for done, _ in enumerate(in_order(work, waiting), 1):
            self.progress("looking at a sample", min(done * CHUNK, len(sample)), len(sample))
        kept = [found for chunk in _chunks(sample) if (found := parts.features(_keys(chunk), self.views))]
        if not kept:
            return {name: view.fit(view.features([]), kmeans) for name, view in self.views.items()}
        learned: dict[str, Arrays] = {}
        for number, (name, view) in enumerate(self.views.items(), 1):
            learned[name] = view.fit(_first([part.features[name] for part in kept], self.settings.sample_size), kmeans)
            self.progress("learning", number, len(self.views))
        return learned

    def _finish_sample(self, parts: Parts, sample: Sequence[File], learned: Mapping[str, Arrays]) -> None:
        """The sample's features become vectors, so that no image is decoded twice."""
        embedders = {name: view.embedder(learned[name]) for name, view in self.views.items()}

        def work(chunk: Sequence[File]) -> None:
            if kept := parts.features(_keys(chunk), embedders):
                vectors = {name: embedder.finish(kept.features[name]) for name, embedder in embedders.items()}
                parts.add(kept.keys, kept.files, vectors)

        for _ in in_order(work, _chunks(sample)):
            pass
        parts.drop_features()

    # Embedding

    def _embed(self, parts: Parts, files: Sequence[File], embedders: Mapping[str, Embedder]) -> dict[str, str]:
        """Vectors of all contents not known yet go to parts; gives content key -> error of those that cannot be decoded."""
        known = {**self._old_places(), **parts.places()}
        todo = self._todo(files, known)
        done = len({file.key for file in files if file.key}) - len(todo)
        total = done + len(todo)

        def work(chunk: Sequence[File]) -> Seen:
            seen = self._see(chunk, embedders)
            parts.add(_keys(chunk), seen.files, {name: e.finish(seen.features[name]) for name, e in embedders.items()})
            return seen

        errors: dict[str, str] = {}
        for chunk, seen in zip(_chunks(todo), in_order(work, _chunks(todo)), strict=True):
            errors |= {f.key: result.error for f, result in zip(chunk, seen.files, strict=True) if result.error}
            done += len(chunk)
            self.progress("embedding", done, total)
        return errors

    def _old_places(self) -> Mapping[str, Place]:
        """Content key -> place of what the finished collection holds."""
        return collection_places(self.old) if self.old else {}


def _chunks(files: Sequence[File]) -> list[Sequence[File]]:
    return [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]


def _keys(files: Sequence[File]) -> list[str]:
    return [file.key for file in files]


def _first(parts: Sequence[Features], count: int) -> Features:
    """The first `count` of the features of several chunks."""
    values = [value for part in parts for value in part.values][:count]
    return Features(values, np.concatenate([part.blank for part in parts])[:count])
