"""Build a sharded collection: plan, a piece of work for each shard, commit. What is whole already is not made again."""

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from embeddings.errors import SynthtraceError
from embeddings.files.writing import FullDisk, full_disk_named, write_text
from embeddings.images.errors import printable
from embeddings.images.find import Source, find, several
from indexer.build.build import Progress, Settings, build_shard, fit_sample, sample_digest, sample_of, settings_of, silent
from indexer.build.files import File
from indexer.collection import Collection
from indexer.execution.executor import Executor, Outcome, Resources
from indexer.execution.in_process import InProcess
from indexer.files import LOCK, Locked, locked, sha256_of
from indexer.manifest import NAME as MANIFEST
from indexer.manifest import CollectionError, make_folder
from indexer.salt import Salt, salt_for
from indexer.sharded.collection import ShardedCollection
from indexer.sharded.manifest import FITTED, NAME, Shard, ShardedManifest
from indexer.sharded.plan import Piece, look_at_all, pieces
from indexer.sharded.progress import Tally, noting
from indexer.types import NoGpu

MEMORY = 1 << 30  # bytes that making a shard takes: see docs/ARCHITECTURE.md, "What it costs"
_SAMPLE = "sample.txt"  # digest of the sample that `fitted` was made of
_PATIENCE = 120  # seconds to wait for a shard that a process holds which may be dying


@dataclass(frozen=True)
class Sharding:
    """How shards are made.

    Attributes:
        size: images in a shard; a file counts as one.
        cores: that a shard is made with on Ray; in one process all cores make one shard after the other.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``cuda:all``; on Ray a shard takes one GPU where there are any.

    Raises:
        ValueError: size or cores are not positive.
    """

    size: int = 10_000
    cores: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.size < 1 or self.cores < 1:
            raise ValueError(f"a shard must have images and cores, got {self.size} and {self.cores}")


@dataclass(frozen=True)
class MakeShard:
    """A piece of work: make one shard, or see that it is whole.

    Attributes:
        folder: of the sharded collection.
        root: folder that the files' paths are relative to; both must lie at the same path on every machine.
        device: see `indexer.build.build.build`.
    """

    folder: Path
    root: Path
    device: str

    def __call__(self, piece: Piece) -> "Made":
        """Make it.

        Raises:
            SynthtraceError, OSError: it cannot be made.
        """
        source, fitted = Source(self.root, (), (), ()), Collection(self.folder / FITTED)
        place, ends = self.folder / piece.name, time.monotonic() + _PATIENCE
        while True:
            try:
                shard = build_shard(place, source, piece.files, fitted, self.device, noting(self.folder, piece.name))
                break
            except Locked:
                if time.monotonic() > ends:
                    raise
                time.sleep(1)
        manifest = shard.manifest
        recall = {name: entry.recall for name, entry in manifest.views.items()}
        row = Shard(piece.name, piece.start, manifest.images, manifest.failed, sha256_of(place / MANIFEST))
        return Made(row, manifest.salt, recall)


@dataclass(frozen=True)
class Made:
    """A shard, and what the manifest of all needs to know of it."""

    shard: Shard
    salt: str
    recall: dict[str, float | None]


def index_shards(
    images: str | Path | Sequence[str | Path] | Source,
    out: str | Path,
    *,
    sharding: Sharding | None = None,
    settings: Settings | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> ShardedCollection:
    """Index images into a sharded collection, or bring it up to date.

    The views are fitted once, on the sample that `indexer.index` would draw from all images; so vectors are those that one
    collection of the same images has, byte for byte, and rows have the same order. A killed run carries on where it stopped.

    Args:
        images: as `indexer.index`, or what was found of them before.
        out: folder of the collection; new, empty, unfinished or finished.
        sharding: how shards are made.
        settings: default `Settings()`, or those of the collection that is there.
        executor: where shards are made; default in this process.
        progress: called with stage, files done, files in all.

    Raises:
        NoImages: the inputs name no image.
        CollectionError: the folder holds something else, or a collection with other settings; or no shard could be made.
        Locked: another process is indexing into the folder.
        FullDisk: no space left; what is finished stays.
        NoGpu, IndexProblem, WeightsError, SaltError: see `indexer.build.build.build`.
    """
    sharding, executor = sharding or Sharding(), executor or InProcess()
    source, folder = images if isinstance(images, Source) else find(*several(images)), Path(os.path.abspath(out))
    _claim(folder)
    with full_disk_named(folder), locked(folder):
        there = ShardedManifest.read(folder) if (folder / NAME).exists() else None
        old = Collection(folder / FITTED) if there else None
        chosen = settings_of(old, settings, new=False) if old else settings or Settings()
        files, source = look_at_all(executor, source, chosen.decoding, progress)
        job = _Job(folder, source, sharding, executor, progress)
        salt = salt_for(folder, None)
        if old is None or old.manifest.salt not in ("", salt.fingerprint):
            job.fit(files, chosen, salt)
        plan = pieces(files, sharding.size, there.shards if there else ())
        return job.commit(plan, job.execute(plan))


def refit_shards(
    images: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    sharding: Sharding | None = None,
    settings: Settings | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> ShardedCollection:
    """As `index_shards`, but fit the views anew and cut the shards anew where the collection exists already.

    Args:
        images, out, sharding, executor, progress: see `index_shards`.
        settings: default those of the collection that is there, or `Settings()`.

    Raises:
        NoImages, CollectionError, Locked, FullDisk, NoGpu, IndexProblem, WeightsError, SaltError: see `index_shards`.
    """
    folder = Path(out)
    _claim(folder)
    with locked(folder):
        with suppress(CollectionError):
            settings = settings or Settings.of(Collection(folder / FITTED).manifest)
        for name in (folder / NAME, folder / _SAMPLE):
            name.unlink(missing_ok=True)
    return index_shards(images, out, sharding=sharding, settings=settings, executor=executor, progress=progress)


def _claim(folder: Path) -> None:
    """Make the folder, or see that it is one of ours."""
    names = make_folder(folder)
    links = [name for name in names if (folder / name).is_symlink()]
    if links:
        raise CollectionError(f"{folder / links[0]} is a link; what is written through it would land elsewhere: remove it")
    if MANIFEST in names or "parts" in names:
        raise CollectionError(f"{folder} holds a collection in one piece; name a new folder for shards")
    if names and LOCK not in names and NAME not in names:
        raise CollectionError(f"{folder} is not empty and no collection (it holds {names[0]}); name a new folder")


@dataclass(frozen=True)
class _Job:
    """One run of `index_shards`, step by step."""

    folder: Path
    source: Source
    sharding: Sharding
    executor: Executor
    progress: Progress

    def fit(self, files: Sequence[File], settings: Settings, salt: Salt) -> None:
        """Fit the views on a sample of all files, unless an interrupted run did so with the same sample and settings."""
        digest = sample_digest(sample_of(files, settings))
        with suppress(CollectionError, OSError):
            there = Collection(self.folder / FITTED)
            fits = Settings.of(there.manifest) == settings and there.manifest.salt in ("", salt.fingerprint)
            if fits and (self.folder / _SAMPLE).read_text(encoding="utf-8") == digest and not there.check():
                return
        (self.folder / _SAMPLE).unlink(missing_ok=True)
        device = self.sharding.device if self.executor.here else "auto"
        fit_sample(self.folder / FITTED, self.source, files, settings, device, self.progress)
        write_text(self.folder / _SAMPLE, digest)

    def execute(self, plan: Sequence[Piece]) -> list[Outcome[Made]]:
        """Make all shards; gives what became of each.

        Raises:
            FullDisk: no space left.
            Exception: what the first shard ended with, where no shard could be made.
        """
        made: list[Outcome[Made]] = []
        outcomes = self.executor.outcomes(self._work(), plan, resources=self._needs())
        with closing(outcomes), Tally(self.folder, plan, self.progress) as tally:
            for piece, outcome in zip(plan, outcomes, strict=True):
                if isinstance(outcome.error, FullDisk | MemoryError):
                    raise outcome.error
                made.append(outcome)
                tally.finished(piece)
        errors = [outcome.error for outcome in made if outcome.error]
        if len(errors) == len(plan):
            raise errors[0]
        return made

    def _needs(self) -> Resources:
        gpus = 0 if self.sharding.device == "cpu" else min(self.executor.gpus, 1)
        if self.sharding.device.startswith("cuda") and not (gpus or self.executor.here):
            raise NoGpu(f"{self.sharding.device} was asked for, but Ray has no GPU; use --device auto or cpu")
        return Resources(self.sharding.cores, gpus, MEMORY, alone=True)

    def _work(self) -> MakeShard:
        device = self.sharding.device if self.executor.here else "cuda" if self._needs().gpus else "cpu"
        return MakeShard(self.folder, self.source.root, device)

    def commit(self, plan: Sequence[Piece], made: Sequence[Outcome[Made]]) -> ShardedCollection:
        """Write the manifest, and delete shards that no file belongs to any more."""
        fitted = Collection(self.folder / FITTED).manifest
        whole = [outcome.value for outcome in made if outcome.value]
        rows = [each.value.shard if each.value else of.failed(_reason(each.error)) for of, each in zip(plan, made, strict=True)]
        ShardedManifest(
            source=printable(str(self.source.root)),
            ignored=self.source.ignored,
            left_out=[asdict(kind) for kind in self.source.left_out],
            orientation=fitted.orientation,
            salt=next((each.salt for each in whole if each.salt), ""),
            decoding=fitted.decoding,
            sample=fitted.sample,
            index=fitted.index,
            versions=fitted.versions,
            views={view: replace(entry, recall=_lowest(view, whole)) for view, entry in fitted.views.items()},
            size=self.sharding.size,
            fitted=sha256_of(self.folder / FITTED / MANIFEST),
            shards=tuple(rows),
        ).write(self.folder)
        kept = {row.name for row in rows}
        for stale in self.folder.glob("shard-*"):
            if stale.name not in kept:
                shutil.rmtree(stale, ignore_errors=True)
        return ShardedCollection(self.folder)


def _lowest(view: str, made: Sequence[Made]) -> float | None:
    """Recall of a view in the shard where its index finds least; None where no shard has an image."""
    return min((recall for each in made if (recall := each.recall[view]) is not None), default=None)


def _reason(error: Exception | None) -> str:
    """Why a shard could not be made, in one line."""
    text = str(error) if isinstance(error, SynthtraceError | OSError) else f"{type(error).__name__}: {error}"
    return printable(" ".join(text.split()))
