"""Make benchmarks with known truth: a simulated generator memorises some images and writes distorted copies and blends.

The generator was trained on `used` and `hidden` images. `used` and `unused` ones are shown as real images; `hidden` ones never,
so that a generated image made from them has no source to be found. A group (one patient, one series) never falls on two sides;
only in a benchmark of siblings it does, on purpose (`_deal_siblings`).
"""

import math
import multiprocessing
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from embeddings.errors import SynthtraceError
from embeddings.files.spreadsheet import write_rows
from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import create, make_folder, write_atomic
from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding
from embeddings.images.errors import ImageError
from embeddings.images.find import find
from embeddings.phantoms.exposure import smooth_noise
from embeddings.phantoms.slices import SIZE, copy_of, phantom
from embeddings.types import GreyImage
from query.benchmarks.unseen import SOURCES as UNSEEN_SOURCES
from query.benchmarks.unseen import Unseen, compose_unseen

Progress = Callable[[int, int], None]  # images done, images in all
Sources = NDArray[np.uint8]  # (n, 256, 256)
Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]

_CHUNK = 32  # images for each message to a worker
_SUBSPACE_IMAGES = 400  # at most so many training images span the subspace of `eigen`
_LEAST_AREA = 0.22  # of a part of `regions`: the copy that follows may push a little of it over the border
_HIDDEN_SOURCE = "-"
_TRAINING, _SUBSPACE = "training.npy", "subspace.npy"  # arrays that workers share


class BenchmarkError(SynthtraceError):
    """A benchmark cannot be made as asked; the message is one line."""


class Kind(StrEnum):
    """How a generated image comes from the training images; `warp` and `eigen` apart, a copy of strength 1 to 3 follows.

    The bundled network was trained on every one of them but `eigen` (docs/NETWORK.md); those of `Unseen` it never saw.
    """

    WARP = "warp"  # a copy of one, strength 1 to 5
    BLEND = "blend"  # two laid over each other, 30 to 70%
    EIGEN = "eigen"  # none: a draw in the principal subspace of all, plus texture; it still leaks that subspace
    MIRROR = "mirror"  # one, flipped left to right
    CROP = "crop"  # one: a window of 70 to 95% of its side enlarged, or the whole shrunk to that
    REGIONS = "regions"  # two or three side by side, each on at least 20% of the area; the largest part's is named first
    TEXTURE = "texture"  # the low spatial frequencies (anatomy) of one, named first, with the high ones of another
    THREE = "three"  # three laid over each other, each with at least 20% of the weight


AnyKind = Kind | Unseen
DEFAULT_KINDS = (Kind.WARP, Kind.BLEND, Kind.EIGEN)
_SOURCES: Mapping[AnyKind, tuple[int, ...]] = {  # how many a kind may have
    **dict(UNSEEN_SOURCES.items()),
    Kind.WARP: (1,),
    Kind.BLEND: (2,),
    Kind.EIGEN: (0,),
    Kind.MIRROR: (1,),
    Kind.CROP: (1,),
    Kind.REGIONS: (2, 3),
    Kind.TEXTURE: (2,),
    Kind.THREE: (3,),
}


@dataclass(frozen=True)
class Slice:
    """An image that can take part: its name, its group, and how to get its pixels, (256, 256) uint8, in any process."""

    name: str
    group: str
    load: Callable[[], GreyImage]


def procedural_slices(count: int, seed: int) -> list[Slice]:
    """Phantoms, each a group of its own; seeds share none as long as `count` stays below a million."""
    return [Slice(f"phantom_{n:09d}", f"phantom_{n:09d}", partial(phantom, n)) for n in _numbers(count, seed)]


def procedural_siblings(groups: int, seed: int) -> list[Slice]:
    """The groups of `procedural_slices`, each with a second slice of the same patient."""
    seconds = [
        Slice(f"phantom_{n:09d}_sibling", f"phantom_{n:09d}", partial(phantom, n, sibling=1)) for n in _numbers(groups, seed)
    ]
    return procedural_slices(groups, seed) + seconds


def _numbers(count: int, seed: int) -> range:
    """Which phantoms belong to a seed."""
    return range(seed * 1_000_000, seed * 1_000_000 + count)


def folder_slices(folder: Path, groups: Mapping[str, str]) -> list[Slice]:
    """The images of a folder, by relative path; the first frame of each.

    Args:
        folder: searched recursively, as `embeddings.images.find.find` does.
        groups: relative path or file name -> group; an image that is not in it is its own group.

    Raises:
        NoImages: there are none.
        BenchmarkError: part of the folder cannot be read.
    """
    source = find(folder)
    for name, reason in source.broken:
        raise BenchmarkError(f"{source.root / name}: {reason}")
    return [Slice(f, groups.get(f, groups.get(Path(f).name, f)), partial(_read, source.root / f)) for f in source.files]


def _read(path: Path) -> GreyImage:
    """The middle square of an image's first frame, (256, 256)."""
    try:
        pixels = next(decode(path, Decoding())).pixels
    except ImageError as error:
        raise BenchmarkError(f"{path}: {error}") from error
    height, width = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    return square if side == SIZE else np.asarray(cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True)
class BenchmarkSettings:
    """What a benchmark consists of.

    Attributes:
        generated: number of generated images; kinds come in random order.
        used, unused, hidden: numbers of images in each part.
        copied: share of the used images that is ever copied; the rest only shape the subspace of `eigen`.
        kinds: by name, of `Kind` or `Unseen`, kept sorted and once each; none for warp, blend and eigen, of siblings warp alone.
        siblings: show pairs of one group instead, of which one was used, see `_deal_siblings`; there are as many used as unused
            ones, and none is hidden.
        excluded: names and groups of slices that must not take part.
        seed: of all draws.

    Raises:
        BenchmarkError: a value out of range.
    """

    generated: int = 10_000
    used: int = 100
    unused: int = 100
    hidden: int = 0
    copied: float = 1.0
    kinds: Sequence[str] = ()
    siblings: bool = False
    excluded: Collection[str] = frozenset()
    seed: int = 0

    def __post_init__(self) -> None:
        for name, number in [*self.sizes.items(), ("generated", self.generated), ("seed", self.seed)]:
            if number < 0:
                raise BenchmarkError(f"{name} must not be negative, got {number}")
        if not 0 <= self.copied <= 1:  # NaN fails here too
            raise BenchmarkError(f"copied must be a share from 0 to 1, got {self.copied}")
        for unknown in (kind for kind in self.kinds if kind not in _SOURCES):
            raise BenchmarkError(f"unknown kind {unknown!r}; there are {', '.join([*Kind, *Unseen])}")
        kinds = self.kinds or ((Kind.WARP,) if self.siblings else DEFAULT_KINDS)
        object.__setattr__(self, "kinds", tuple(sorted({_kind(kind) for kind in kinds})))

    @property
    def sizes(self) -> dict[str, int]:
        """Part -> number of its images."""
        return {"used": self.used, "unused": self.unused, "hidden": self.hidden}


def _kind(name: str) -> AnyKind:
    return Kind(name) if name in list(Kind) else Unseen(name)


def write_benchmark(
    out: Path,
    settings: BenchmarkSettings,
    *,
    slices: Sequence[Slice] | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> None:
    """Write `generated/`, `real/`, `truth_generated.csv` and `truth_real.csv` into an empty or new folder.

    The same arguments give the same files with the same library versions, however many workers there are.

    Args:
        out: the folder; what is made here is readable for its owner only, as it may hold patients' scans.
        settings: what it consists of.
        slices: the images to deal out; procedural ones where none are given.
        progress: told from time to time how many images of how many are written.
        workers: processes, one for each core by default; 1 works in this process.

    Raises:
        BenchmarkError: `out` is not empty, there are too few slices, or one cannot be read.
        OSError: `out` cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BenchmarkError(f"{out} is not an empty folder")
    sizes, seed = settings.sizes, settings.seed
    if slices is None:
        draw = procedural_siblings if settings.siblings else procedural_slices
        slices = draw(sum(sizes.values()) + len(settings.excluded), seed)
    rng = np.random.default_rng(seed)
    members = _members(slices, settings.excluded)
    parts = _deal_siblings(members, sizes, rng) if settings.siblings else _deal(members, sizes, rng)
    cast = _Cast(parts, settings.copied, rng)
    plan = _plan(settings, cast, rng)
    for folder in (out, out / "generated", out / "real"):
        make_folder(folder)
    with temporary_folder(out) as scratch, _mapper(workers) as run:
        training = _write_real(out / "real", cast, run)
        _save(scratch / _TRAINING, training)
        if Kind.EIGEN in settings.kinds:
            _save(scratch / _SUBSPACE, _subspace(training))
        jobs = [_Job(index, kind, rows, seed, str(out / "generated"), str(scratch)) for index, (kind, rows) in enumerate(plan)]
        results = _counted(run(_generate, jobs), settings.generated, progress)
    _write_truth(out, cast, jobs, results)


class _Cast:
    """Who plays what: the parts, the order in which real images are shown, and the training images that are copied."""

    def __init__(self, parts: Mapping[str, Sequence[Slice]], copied: float, rng: np.random.Generator) -> None:
        shown = [*parts["used"], *parts["unused"]]
        self.shown = [shown[i] for i in rng.permutation(len(shown))]
        self.training = [*parts["used"], *parts["hidden"]]
        self.used = {s.name for s in parts["used"]}
        self.names = {s.name: f"real_unknown_{number:04d}.png" for number, s in enumerate(self.shown, 1)}
        used = len(parts["used"])
        copied_rows = sorted(rng.permutation(used)[: round(copied * used)])
        self.sources = [*map(int, copied_rows), *range(used, len(self.training))]  # rows of `training`

    def name(self, row: int) -> str:
        """What the truth calls a training image."""
        return self.names.get(self.training[row].name, _HIDDEN_SOURCE)


# Dealing ------------------------------------------------------------------------------------------------------------------


def _members(slices: Sequence[Slice], excluded: Collection[str]) -> dict[str, list[Slice]]:
    """Group -> the images of it that may take part."""
    members: dict[str, list[Slice]] = defaultdict(list)
    for s in slices:
        if s.name not in excluded and s.group not in excluded:
            members[s.group].append(s)
    return members


def _deal(members: Mapping[str, list[Slice]], sizes: Mapping[str, int], rng: np.random.Generator) -> dict[str, list[Slice]]:
    """Whole groups dealt at random until each part has its size; what is left of a group that does not fit takes no part."""
    groups = sorted(members)
    parts: dict[str, list[Slice]] = {name: [] for name in sizes}
    for i in rng.permutation(len(groups)):
        room = [name for name in sizes if len(parts[name]) < sizes[name]]
        if not room:
            break
        emptiest = min(room, key=lambda name: len(parts[name]) / sizes[name])
        parts[emptiest] += members[groups[i]][: sizes[emptiest] - len(parts[emptiest])]
    for name, size in sizes.items():
        if len(parts[name]) < size:
            raise BenchmarkError(f"only {len(parts[name])} of {size} images for '{name}': too few images, or too few groups")
    return parts


def _deal_siblings(
    members: Mapping[str, list[Slice]], sizes: Mapping[str, int], rng: np.random.Generator
) -> dict[str, list[Slice]]:
    """Of each of as many groups as are to be used two images are shown, neighbours by name, of which one was used.

    This breaks the rule that a group never falls on two sides. Whether a patient was used is no question here, it is so for all;
    the question is whether the true source of a generated image comes before its sibling, the hardest wrong answer there is.
    Which pair of a group, and which of it was used, is drawn at random. Groups of one image take no part.
    """
    pairs = sizes["used"]
    if sizes["unused"] != pairs or sizes["hidden"]:
        got = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise BenchmarkError(f"siblings need as many unused as used images, and none hidden; got {got}")
    groups = sorted(name for name, images in members.items() if len(images) > 1)
    if len(groups) < pairs:
        raise BenchmarkError(f"only {len(groups)} of {pairs} groups of two images or more, for as many pairs of siblings")
    parts: dict[str, list[Slice]] = {name: [] for name in sizes}
    for i in rng.permutation(len(groups))[:pairs]:
        images = sorted(members[groups[i]], key=lambda s: s.name)
        start = int(rng.integers(len(images) - 1))
        for part, place in zip(("used", "unused"), rng.permutation(2), strict=True):
            parts[part].append(images[start + place])
    return parts


def _plan(settings: BenchmarkSettings, cast: _Cast, rng: np.random.Generator) -> list[tuple[AnyKind, tuple[int, ...]]]:
    """For each generated image its kind and the rows of its sources in `cast.training`."""
    kinds = [_kind(kind) for kind in settings.kinds]
    for kind in kinds if settings.generated else ():
        have = len(cast.training) if kind is Kind.EIGEN else len(cast.sources)
        need = 2 if kind is Kind.EIGEN else max(_SOURCES[kind])
        if have < need:
            raise BenchmarkError(
                f"kind '{kind}' needs at least {need} images to be made from, got {have}: more used or hidden ones"
            )
    plan: list[tuple[AnyKind, tuple[int, ...]]] = []
    for _ in range(settings.generated):
        kind = kinds[int(rng.integers(len(kinds)))]
        choices = _SOURCES[kind]
        count = choices[0] if len(choices) == 1 else int(rng.choice(choices))
        rows = rng.choice(len(cast.sources), count, replace=False) if count else ()
        plan.append((kind, tuple(cast.sources[i] for i in rows)))
    return plan


# Composing ----------------------------------------------------------------------------------------------------------------


def compose(kind: AnyKind, sources: Sources, rng: np.random.Generator) -> GreyImage:
    """What a generated image shows before it is distorted, (256, 256) uint8.

    Args:
        kind: any but `eigen`.
        sources: (n, 256, 256) uint8, as many as the kind has, in the order in which the truth names them.
        rng: source of all draws.
    """
    return compose_unseen(kind, sources, rng) if isinstance(kind, Unseen) else _COMPOSERS[kind](sources, rng)


def _only(sources: Sources, rng: np.random.Generator) -> GreyImage:
    return np.asarray(sources[0])


def _blend(sources: Sources, rng: np.random.Generator) -> GreyImage:
    alpha = rng.uniform(0.3, 0.7)
    return np.asarray(cv2.addWeighted(sources[0], alpha, sources[1], 1 - alpha, 0), np.uint8)


def _mirror(sources: Sources, rng: np.random.Generator) -> GreyImage:
    return np.ascontiguousarray(sources[0][:, ::-1])


def _crop(sources: Sources, rng: np.random.Generator) -> GreyImage:
    """A window enlarged to the whole, or the whole shrunk to a window around which its border, or black, goes on."""
    side = round(SIZE * rng.uniform(0.70, 0.95))
    top, left = (int(n) for n in rng.integers(0, SIZE - side + 1, 2))
    if rng.random() < 0.5:
        window = sources[0][top : top + side, left : left + side]
        return np.asarray(cv2.resize(window, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), np.uint8)
    shrunk = cv2.resize(sources[0], (side, side), interpolation=cv2.INTER_AREA)
    border = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    rest = SIZE - side
    return np.asarray(cv2.copyMakeBorder(shrunk, top, rest - top, left, rest - left, border), np.uint8)


def _regions(sources: Sources, rng: np.random.Generator) -> GreyImage:
    """Each pixel from one source, the first the largest part; borders are feathered."""
    parts = len(sources)
    shares = np.sort(_LEAST_AREA + (1 - parts * _LEAST_AREA) * rng.dirichlet(np.ones(parts)))[::-1]
    territory = _territories(shares, rng)
    masks = np.stack([cv2.GaussianBlur((territory == i).astype(np.float32), (0, 0), 2) for i in range(parts)])
    return _rounded(np.einsum("nij,nij->ij", masks, sources))


def _territories(shares: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Which part each pixel belongs to, (256, 256): smooth irregular borders, areas as given to the pixel.

    Each part but the last takes, of what is left, the pixels in which a smooth random field of its own is highest.
    """
    territory = np.full(SIZE * SIZE, len(shares) - 1)
    for part, share in enumerate(shares[:-1]):
        field = smooth_noise(rng, (SIZE, SIZE), 5).ravel()
        field[territory < part] = -np.inf
        territory[np.argsort(field, kind="stable")[-round(share * SIZE * SIZE) :]] = part
    return territory.reshape(SIZE, SIZE)


def _texture(sources: Sources, rng: np.random.Generator) -> GreyImage:
    """A Gaussian parts low frequencies from high ones."""
    sigma = rng.uniform(3, 8)
    anatomy, other = sources.astype(np.float32)
    return _rounded(cv2.GaussianBlur(anatomy, (0, 0), sigma) + other - cv2.GaussianBlur(other, (0, 0), sigma))


def _three(sources: Sources, rng: np.random.Generator) -> GreyImage:
    weights = 0.2 + 0.4 * rng.dirichlet(np.ones(3))
    return _rounded(np.einsum("n,nij->ij", weights, sources))


def _rounded(pixels: NDArray[Any]) -> GreyImage:
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


_COMPOSERS: Mapping[Kind, Callable[[Sources, np.random.Generator], GreyImage]] = {
    Kind.WARP: _only,
    Kind.BLEND: _blend,
    Kind.MIRROR: _mirror,
    Kind.CROP: _crop,
    Kind.REGIONS: _regions,
    Kind.TEXTURE: _texture,
    Kind.THREE: _three,
}


# Drawing, in worker processes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """One generated image: its place, how it is made, from which training images."""

    index: int
    kind: AnyKind
    rows: tuple[int, ...]
    seed: int
    folder: str
    scratch: str  # folder of the arrays that workers share

    @property
    def name(self) -> str:
        return f"generated_{self.index + 1:05d}.png"


@lru_cache(maxsize=2)
def _array(folder: str, name: str) -> NDArray[Any]:
    array: NDArray[Any] = np.load(Path(folder) / name, mmap_mode="r")
    return array


def _generate(job: _Job) -> int:
    """Write one generated image; returns its strength."""
    rng = np.random.default_rng([job.seed, job.index])
    strength = 0
    if job.kind is Kind.EIGEN:
        pixels = _eigen(_array(job.scratch, _SUBSPACE), rng)
    else:
        sources = np.asarray(_array(job.scratch, _TRAINING)[list(job.rows)])
        strength = int(rng.integers(1, 6 if job.kind is Kind.WARP else 4))
        pixels = copy_of(compose(job.kind, sources, rng), strength, rng)
    _write_png(Path(job.folder) / job.name, pixels)
    return strength


def _subspace(training: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean and leading axes of the training images, (1 + axes, 65536) float32; an axis is as long as the images spread along it.

    Axes are combinations of centred images, by the eigenvectors of their Gram matrix. Signs are fixed and BLAS has one thread, so
    that runs repeat: sums in another order gave other grey levels.
    """
    flat = training[:_SUBSPACE_IMAGES].reshape(-1, SIZE * SIZE).astype(np.float32)
    mean = flat.mean(axis=0)
    flat -= mean
    with threadpool_limits(1):
        _, vectors = np.linalg.eigh((flat @ flat.T).astype(np.float64))
        keep = max(2, len(flat) // 8)
        vectors = vectors[:, ::-1][:, :keep]
        vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
        axes = (0.7 / math.sqrt(len(flat) - 1)) * vectors.T.astype(np.float32) @ flat
    return np.concatenate([mean[None], axes]).astype(np.float32)


def _eigen(subspace: NDArray[np.float32], rng: np.random.Generator) -> GreyImage:
    weights = np.concatenate([[1], rng.standard_normal(len(subspace) - 1)]).astype(np.float32)
    # not `@`: the threads that BLAS starts in every worker would fight over the cores
    pixels: NDArray[np.float32] = np.einsum("i,ij->j", weights, subspace).reshape(SIZE, SIZE)
    texture = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE), np.float32), (0, 0), 0.8) * np.float32(6)
    return _rounded(pixels + texture)


def _load(s: Slice) -> GreyImage:
    return s.load()


def _start_worker() -> None:
    """One thread each; an interrupt is for the process that waits."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _mapper(workers: int | None) -> Iterator[Mapper]:
    """An ordered `map` over processes. They are spawned: a forked copy of a process with threads can hang."""
    if workers == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or os.cpu_count(), context, _start_worker) as pool:
        yield partial(pool.map, chunksize=_CHUNK)


# Writing ------------------------------------------------------------------------------------------------------------------


def _write_real(folder: Path, cast: _Cast, run: Mapper) -> NDArray[np.uint8]:
    """Write the real images; returns the training images, (n, 256, 256)."""
    rows = {s.name: row for row, s in enumerate(cast.training)}
    training = np.zeros((len(rows), SIZE, SIZE), np.uint8)
    everyone = [*cast.shown, *(s for s in cast.training if s.name not in cast.names)]
    for s, pixels in zip(everyone, run(_load, everyone), strict=True):
        if s.name in rows:
            training[rows[s.name]] = pixels
        if s.name in cast.names:
            _write_png(folder / cast.names[s.name], pixels)
    return training


def _counted(strengths: Iterator[int], total: int, progress: Progress | None) -> list[int]:
    """All strengths, telling progress on the way."""
    done = []
    for strength in strengths:
        done.append(strength)
        if progress and (len(done) % 100 == 0 or len(done) == total):
            progress(len(done), total)
    return done


def _write_truth(out: Path, cast: _Cast, jobs: Sequence[_Job], strengths: Sequence[int]) -> None:
    origins = [[cast.name(row) for row in job.rows] for job in jobs]
    table = [(j.name, j.kind.value, strength, "|".join(o)) for j, strength, o in zip(jobs, strengths, origins, strict=True)]
    _write_csv(out / "truth_generated.csv", ("generated", "kind", "strength", "sources"), table)
    descendants = Counter(name for names in origins for name in names)
    reals = [(cast.names[s.name], int(s.name in cast.used), descendants[cast.names[s.name]], s.name, s.group) for s in cast.shown]
    _write_csv(out / "truth_real.csv", ("real", "used", "descendants", "source", "group"), reals)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    write_atomic(path, lambda file: write_rows(file, header, rows))


def _write_png(path: Path, pixels: GreyImage) -> None:
    _, data = cv2.imencode(".png", pixels)
    with create(path) as file:
        file.write(data.tobytes())


def _save(path: Path, array: NDArray[Any]) -> None:
    with create(path) as file:
        np.save(file, array)
