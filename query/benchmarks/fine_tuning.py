"""Fine-tune the bundled network on a user's images (Dar et al., 2025, train one for each data set), and measure it.

Whole groups are held out and take no part in it. A benchmark is made from them, on which the view `resnet` is measured with the
weights that training began from and with the new ones.

FILE.work/   while unfinished: state.pt to go on from, digest.txt to know whether it is of this training; for its owner only
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.errors import SynthtraceError
from embeddings.files.writing import full_disk_named, write_text
from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding, frame_name
from embeddings.images.errors import ImageError, printable
from embeddings.images.find import find
from embeddings.pipeline import in_order
from embeddings.training.trainer import Pictures, Recipe, Trainer
from embeddings.types import GreyImage
from embeddings.views.network import load_copy_network, save_copy_network
from embeddings.views.resnet import BLANK_SPREAD, ResNet
from embeddings.views.resnet_settings import ResNetSettings
from indexer.build.build import Progress, silent
from indexer.build.commit import versions
from indexer.build.files import File, look
from indexer.device import choose_device
from indexer.files import LOCK, locked
from indexer.manifest import make_folder
from indexer.salt import Salt, new_salt
from query.benchmarks.benchmark import BenchmarkSettings, Kind, Slice, write_benchmark
from query.benchmarks.source_finding import Benchmark, Row, figures, first_hits, gain, likeness, read_benchmark
from query.evaluation.resampling import Estimate
from query.flow import Say, quiet
from query.inputs.groups import Given, by_content, groups_by_row, read_groups
from query.inputs.near_duplicates import near_duplicate_groups
from query.inputs.tables import AS_FOUND, TableForm
from query.text import many

SIDE = 160  # pixels of the pictures that are trained on
SUFFIX = ".safetensors"
LEAST_IMAGES, LEAST_HELD_OUT, LEAST_GROUPS = 200, 40, 8
BATCH = 128  # unless there are fewer groups
SAVE_EVERY = 50  # steps, about a minute
KINDS = tuple(kind for kind in Kind if kind is not Kind.EIGEN)  # those with a source
FEW = 500  # generated images that do not pay for starting processes
_TRAINED = 112 / 144  # a network does best on larger pictures than it was trained on (Touvron et al., NeurIPS 2019)
STATE, DIGEST, BENCHMARK = "state.pt", "digest.txt", "benchmark"


class TuningError(SynthtraceError):
    """Training is not possible as asked; the message is one line with the mend."""


@dataclass(frozen=True)
class TuningSettings:
    """How to train and to measure.

    Attributes:
        steps: number of batches.
        batch: images in a batch, at most one for each group; None for 128, or as many as there are groups.
        size: side of the square at which the view sees images, pixels; training shows them smaller, as it did from scratch.
        held_out: share of the images that measures and does not train.
        generated: images that are made from them to measure on.
        seed: of all draws.

    Raises:
        TuningError: a value out of range.
    """

    steps: int = 600
    batch: int | None = None
    size: int = ResNetSettings.size
    held_out: float = 0.25
    generated: int = 1400
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.generated < 1 or self.seed < 0 or self.size < 32:
            got = f"{self.steps}, {self.generated}, {self.seed}, {self.size}"
            raise TuningError(f"steps and generated must be positive, seed from 0, size from 32; got {got}")
        if self.batch is not None and self.batch < 2:
            raise TuningError(f"a batch needs at least 2 images, got {self.batch}")
        if not 0 < self.held_out < 1:
            raise TuningError(f"the share held out must be between 0 and 1, got {self.held_out}")

    def recipe(self, groups: int) -> Recipe:
        """For so many groups to train on; the rate is lower and the average shorter than from scratch.

        Raises:
            TuningError: the batch is larger than that.
        """
        if self.batch is not None and self.batch > groups:
            raise TuningError(f"a batch of {self.batch} is more than the {groups} groups to train on; take at most so many")
        batch = min(BATCH, groups) if self.batch is None else self.batch
        side = round(self.size * _TRAINED)
        return Recipe(self.steps, batch, sizes=((1.0, side),), rate=3e-4, average=0.99, seed=self.seed)


class Outcome(StrEnum):
    """What the interval of the change of first hits says; only one that excludes 0 says anything."""

    IMPROVED = "improved"
    NOT_IMPROVED = "not improved"
    WORSE = "worse"

    @classmethod
    def of(cls, change: Estimate) -> "Outcome":
        """NaN, from too few groups, is no improvement."""
        return cls.IMPROVED if change.low > 0 else cls.WORSE if change.high < 0 else cls.NOT_IMPROVED


@dataclass(frozen=True)
class Tuning:
    """What became of it.

    Attributes:
        out: the file of the new weights.
        start: what training began from, ``bundled`` or a file.
        images: usable ones: trained on, held out.
        groups: likewise.
        blank: images that nothing is seen in; they take no part.
        failed: path and reason of each file that could not be read.
        generated: images by kind that were measured on.
        before, after: first hits by kind, first hits in all, AUROC of d1, with the old and the new weights.
        change: of the share of first hits in all.
    """

    out: Path
    start: str
    images: tuple[int, int]
    groups: tuple[int, int]
    blank: int
    failed: Sequence[tuple[str, str]]
    generated: Mapping[str, int]
    before: Row
    after: Row
    change: Estimate

    @property
    def outcome(self) -> Outcome:
        """Whether the new weights find more."""
        return Outcome.of(self.change)

    def card(self) -> dict[str, Any]:
        """The figures without paths and names: what goes into the file of the weights."""
        parts = ("trained", "held_out")
        return {
            "images": {**dict(zip(parts, self.images, strict=True)), "blank": self.blank, "unreadable": len(self.failed)},
            "groups": dict(zip(parts, self.groups, strict=True)),
            "generated": dict(self.generated),
            "before": self.before,
            "after": self.after,
            "change": self.change.as_dict(),
            "outcome": self.outcome.value,
        }

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        failures = [{"path": path, "reason": reason} for path, reason in self.failed]
        return {"out": str(self.out), "start": self.start, **self.card(), "failures": failures}


@dataclass(frozen=True)
class TuningTask:
    """What to train on and from, and where to.

    Attributes:
        images: what `embeddings.images.find.find` takes. Every frame is an image.
        out: ``.safetensors``, for `ResNetSettings.weights`.
        groups: CSV of image,group, a regular expression on names, ``dicom`` or ``folder``, see
            `query.inputs.groups`; without it near-duplicates and the frames of one file belong together.
        start: weights that `save_copy_network` wrote; the bundled ones by default.
        decoding: how images deeper than 8 bits become grey.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        tables: how the file of groups is written, where that is not to be found out.

    Raises:
        TuningError: `out` cannot be written so.
    """

    images: str | Path
    out: Path
    groups: str | None = None
    start: Path | None = None
    decoding: Decoding = field(default_factory=Decoding)
    device: str = "auto"
    tables: TableForm = AS_FOUND

    def __post_init__(self) -> None:
        out, folder = self.out, self.images
        if out.suffix != SUFFIX:
            raise TuningError(f"{out}: weights are written as {SUFFIX}; name a file that ends so")
        if not out.parent.is_dir():
            raise TuningError(f"{out}: there is no folder {out.parent}")
        if os.path.isdir(folder) and out.resolve().is_relative_to(Path(folder).resolve()):
            raise TuningError(f"{out} lies inside {folder}: pictures that are made there would be trained on; name it elsewhere")

    @property
    def weights(self) -> str:
        """What training begins from, ``bundled`` or a file."""
        return "bundled" if self.start is None else str(self.start)


def tune(task: TuningTask, settings: TuningSettings | None = None, *, progress: Progress = silent, say: Say = quiet) -> Tuning:
    """Train on images, measure, and write the weights, readable for their owner only.

    Killed, the same call goes on from the last saved state. The same arguments give the same bytes on one machine.

    Args:
        task: what to train on and from, and where to.
        settings: how to train and to measure.
        progress: called with stage, done, total.
        say: receives what happens, line by line.

    Raises:
        TuningError: too few images or groups, too large a batch, or more than one GPU.
        NoImages, GroupsError: the images or groups cannot be used.
        WeightsError: the weights to start from are no network for copies.
        NoGpu, Locked, FullDisk, CollectionError: see `indexer`.
    """
    settings = settings or TuningSettings()
    if task.device == "cuda:all":
        raise TuningError("training computes on one GPU; name it, for example --device cuda:0")
    grouping = read_groups(task.groups, task.tables) if task.groups is not None else None
    module = load_copy_network(task.weights)
    where = choose_device(task.device, network=True, search=False)
    say(where.note)
    with _work_folder(task.out) as work:
        stock = _read(task.images, task.decoding, progress)
        deal = _deal(stock, grouping, settings)
        _tell(stock, deal, known=grouping is not None, say=say)
        recipe = settings.recipe(deal.groups[0])
        benchmark = _benchmark(work, stock, deal, settings, progress)
        view = _view(task.weights, settings, where.network)
        old = likeness(view, benchmark)
        trainer = Trainer(module, Pictures(stock.pixels[deal.train], deal.families[deal.train]), recipe, where.network)
        _resume(trainer, work, _digest(stock, deal, settings, view.weights), say)
        _train(trainer, work, progress)
        averaged = work / task.out.name
        save_copy_network(trainer.averaged, averaged, {})
        new = likeness(_view(str(averaged), settings, where.network), benchmark)
        tuning = _measured(task, stock, deal, benchmark, (old, new))
        _write(trainer, tuning, settings, recipe)
    return tuning


# Images -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stock:
    """All images that can be used, a set that `query.inputs.groups` can group.

    Attributes:
        pixels: (n, 160, 160).
        names: (n,) of images.
        digests: (n,) the same for slices of one file.
        patients: (n,) hashed with the salt.
        blank: how many are, which are not among them.
        failed: path and reason of what could not be read.
        salt: a new one, or that of the environment.
    """

    pixels: NDArray[np.uint8]
    names: list[str]
    digests: list[str]
    patients: list[str]
    blank: int
    failed: list[tuple[str, str]]
    salt: Salt


def _read(images: str | Path, decoding: Decoding, progress: Progress) -> _Stock:
    """Decode everything, blank images apart."""
    source = find(images)
    failed = [(f"{source.root}/{name}", reason) for name, reason in source.broken]
    squares: list[GreyImage] = []
    names: list[str] = []
    digests: list[str] = []
    patients: list[str] = []
    blank, salt = 0, new_salt()
    looks = in_order(lambda name: look(source.root, name, decoding).files, source.files)
    found = [file for seen in looks for file in seen]
    work = partial(_squares, source.root, decoding=decoding)
    for number, (frames, error) in enumerate(in_order(work, found)):
        file = found[number]
        if error:
            failed.append((printable(f"{source.root}/{file.path}"), error))
        for frame, (pixels, patient, alone) in enumerate(frames, file.frame.number if file.frame else 0):
            if pixels.std() < BLANK_SPREAD:
                blank += 1
                continue
            squares.append(pixels)
            names.append(frame_name(file.path, frame, max(file.frames, len(frames))))
            digests.append(f"{number}#{frame}" if alone else str(number))
            patients.append(salt.of_patient(patient))
        progress("reading images", number + 1, len(found))
    if len(squares) < LEAST_IMAGES:
        raise TuningError(_too_few(images, len(squares), blank, failed))
    return _Stock(np.stack(squares), names, digests, patients, blank, failed, salt)


def _too_few(images: str | Path, usable: int, blank: int, failed: Sequence[tuple[str, str]]) -> str:
    text = f"{printable(str(images))}: {many(usable, 'usable image')} ({blank} blank, {many(len(failed), 'file')} unreadable"
    first = f", the first is {failed[0][0]}: {failed[0][1]}" if failed else ""
    return f"{text}{first}); training needs at least {LEAST_IMAGES}"


def _squares(root: Path, file: File, decoding: Decoding) -> tuple[list[tuple[GreyImage, str, bool]], str]:
    """Every frame of a file, resized as a whole as the view does, its patient, whether it is a picture of a set; or why there is
    none."""
    if file.error:
        return [], file.error
    try:
        decoded = decode(root / file.path, decoding, frame=file.frame)
        frames = [(_square(each.pixels, SIDE), each.patient, each.mode.startswith("array ")) for each in decoded]
    except ImageError as error:
        return [], str(error) or type(error).__name__
    return frames, "" if frames else "the file holds no image"


def _square(pixels: GreyImage, side: int) -> GreyImage:
    shrink = min(pixels.shape) >= side
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR), np.uint8)


# Groups -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Deal:
    """Family of each image, numbered from 0; the rows to train on and those held out; how many to call used, and unused."""

    families: NDArray[np.int64]
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    half: int

    @property
    def groups(self) -> tuple[int, int]:
        """To train on, held out."""
        return len(np.unique(self.families[self.train])), len(np.unique(self.families[self.held_out]))


def _deal(stock: _Stock, grouping: Given | None, settings: TuningSettings) -> _Deal:
    """Who belongs to whom, and who is held out: whole groups in random order, each that still fits.

    Raises:
        TuningError: too little is left on one side.
    """
    families = _families(stock, near_duplicate_groups(stock.pixels) if grouping is None else _named(stock, grouping))
    sizes = np.bincount(families)
    room, chosen = round(settings.held_out * len(families)), []
    for family in np.random.default_rng(settings.seed).permutation(len(sizes)):
        if sizes[family] <= room:
            chosen.append(family)
            room -= sizes[family]
    out = np.isin(families, chosen)
    deal = _Deal(families, np.flatnonzero(~out), np.flatnonzero(out), _half(sizes[chosen]))
    if 2 * deal.half < LEAST_HELD_OUT or deal.groups[0] < LEAST_GROUPS:
        fall = many(len(families), "image falls", "images fall")
        counts = f"{fall} into {many(len(sizes), 'group')}, the largest of {sizes.max()}"
        needed = f"{LEAST_HELD_OUT} of them in whole groups must measure and {LEAST_GROUPS} groups train"
        raise TuningError(f"{counts}; {needed}: more groups, more images, or another share held out")
    return deal


def _half(sizes: NDArray[np.int64]) -> int:
    """So many images fit on either of two sides, however groups of these sizes are dealt out: a group's rest may be lost."""
    return int(sizes.sum() - sizes.max() + 1) // 2 if len(sizes) else 0


def _named(stock: _Stock, grouping: Given) -> NDArray[np.str_]:
    """By what somebody gave; an image without a group is one by itself."""
    of_row = [f"alone: {name}" for name in stock.names]
    for row, group in groups_by_row(grouping, stock).items():
        of_row[row] = f"group: {group}"
    return np.array(of_row, str)


def _families(stock: _Stock, groups: NDArray[np.generic]) -> NDArray[np.int64]:
    """Numbers of groups in the order of images, since names may be hashes; frames of one file belong together."""
    together = by_content(groups, stock.digests).tolist()
    numbers = {group: number for number, group in enumerate(dict.fromkeys(together))}
    return np.array([numbers[group] for group in together], np.int64)


def _tell(stock: _Stock, deal: _Deal, known: bool, say: Say) -> None:
    if not known:
        say("no groups were given: near-duplicates and frames of one file are kept together, patients are not known")
    if stock.blank:
        say(f"{stock.blank:,} blank images take no part")
    say(f"training on {many(len(deal.train), 'image')} of {many(deal.groups[0], 'group')}")
    say(f"holding out {many(len(deal.held_out), 'image')} of {many(deal.groups[1], 'group')} to measure on")


# Measuring ----------------------------------------------------------------------------------------------------------------


def _benchmark(work: Path, stock: _Stock, deal: _Deal, settings: TuningSettings, progress: Progress) -> Benchmark:
    """Generated images from those held out, half of which are used. What is written for it holds scans: it goes at once."""
    folder = work / BENCHMARK
    shutil.rmtree(folder, ignore_errors=True)  # of a killed run
    enlarged = [partial(_square, stock.pixels[row], 256) for row in deal.held_out]
    slices = [Slice(f"{row:09d}", f"{deal.families[row]:09d}", load) for row, load in zip(deal.held_out, enlarged, strict=True)]
    try:
        write_benchmark(
            folder,
            BenchmarkSettings(settings.generated, deal.half, deal.half, kinds=KINDS, seed=settings.seed),
            slices=slices,
            progress=partial(progress, "making images to measure on"),
            workers=1 if settings.generated < FEW else None,
        )
        return read_benchmark(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _view(weights: str, settings: TuningSettings, device: str) -> ResNet:
    return ResNet(ResNetSettings(weights=weights, size=settings.size), {}, device)


def _measured(
    task: TuningTask,
    stock: _Stock,
    deal: _Deal,
    benchmark: Benchmark,
    likenesses: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> Tuning:
    """The figures of the network before and after training, from the likenesses by the one and the other."""
    old, new = likenesses
    first, then = first_hits(benchmark, old), first_hits(benchmark, new)
    return Tuning(
        out=task.out,
        start=task.weights,
        images=(len(deal.train), len(deal.held_out)),
        groups=deal.groups,
        blank=stock.blank,
        failed=stock.failed,
        generated={"all": len(benchmark.kinds), **Counter(sorted(map(str, benchmark.kinds)))},
        before={"all": float(first.mean()), **figures(benchmark, old)},
        after={"all": float(then.mean()), **figures(benchmark, new)},
        change=gain(first, then, benchmark.groups),
    )


# Training -----------------------------------------------------------------------------------------------------------------


def _digest(stock: _Stock, deal: _Deal, settings: TuningSettings, start: str) -> str:
    """Of all that decides the outcome; `start` is the digest of the weights to begin from."""
    text = json.dumps({"settings": asdict(settings), "start": start, "versions": versions()}, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for array in (stock.pixels, deal.families, deal.train):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _resume(trainer: Trainer, work: Path, digest: str, say: Say) -> None:
    """Go on from a saved state, where it is of this training."""
    mark, state = work / DIGEST, work / STATE
    if state.exists() and mark.exists() and mark.read_text() == digest:
        trainer.restore(state)
        say(f"going on after step {trainer.step} of {trainer.recipe.steps}")
        return
    if state.exists():
        say(f"{work} is of other images or settings; training begins anew")
        state.unlink()
    write_text(mark, digest)


def _train(trainer: Trainer, work: Path, progress: Progress) -> None:
    steps = trainer.recipe.steps
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # pictures are made in a pool with a thread for each core
    try:
        progress("training", trainer.step, steps)
        while trainer.step < steps:
            trainer.run(min(trainer.step + SAVE_EVERY, steps), lambda step, _: progress("training", step, steps))
            trainer.save(work / STATE)
    finally:
        cv2.setNumThreads(threads)


def _write(trainer: Trainer, tuning: Tuning, settings: TuningSettings, recipe: Recipe) -> None:
    """The weights with their card, put in place at once. Neither time nor place is on it: the same bytes again."""
    made_with = {name: version for name, version in versions().items() if name in ("synthtrace", "torch")}
    card = {**tuning.card(), "settings": asdict(settings), "recipe": asdict(recipe), "versions": made_with}
    save_copy_network(trainer.averaged, tuning.out, card)


# The folder beside the file -----------------------------------------------------------------------------------------------


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """The folder of an unfinished training; it stays only where there is something to go on from."""
    work = out.with_name(f"{out.name}.work")
    names = make_folder(work)
    if names and LOCK not in names:
        raise TuningError(f"{work} is in the way, and of no training; remove it, or name another file")
    with full_disk_named(work), locked(work):
        finished = False
        try:
            yield work
            finished = True
        finally:
            if finished or not (work / STATE).exists():
                shutil.rmtree(work, ignore_errors=True)
