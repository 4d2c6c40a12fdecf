#!/usr/bin/env python3
"""Measure indexing: time against its kernels and against a plain implementation, and memory.

All figures come from one run on the same images; the things compared take turns; ratios are medians over the rounds. Views have
their default options, everything runs on the CPU. With no folder given, procedural slices are drawn first.

kernels
    The whole of indexing (`indexer.build.build.build`: find, hash, decode, learn, embed, index, write; libraries imported before)
    against the sum of the times that its kernels take alone over the same images, one thread on each core: decode, pHash, SIFT
    (one detector a thread), forward passes of the network. Files lie in the page cache; images, and for the network finished
    batches, in memory. A race before the rounds finds the fastest known form of each kernel; all forms give the same
    outputs. Each round times half of the kernels' images before the whole and half after it, so that a slow spell of the
    machine hits both. For the network the share of the processor's peak is shown: its operations a second against those of
    a large matrix product of the same type on all cores. For the other kernels no such limit is known. Indexing by view `phash`
    alone is timed beside its two kernels, decode and pHash, in the same way.

plain
    Each view, and the whole, against a loop image by image with Pillow, imagehash, OpenCV, float32 torchvision, SciPy and NumPy,
    each with its own threads. Its vectors must be equal: pHash bit for bit, the others by cosine; else the exit code is 1. What
    views learn is given to the loop for nothing. The loop sees fewer images; the time of each of its steps is the median over
    them. To the whole belong the Hamming distances of 200 queries to all images, for the loop in NumPy.

memory
    Largest resident memory apart from mapped files (RssAnon and RssShmem in /proc) of a process that indexes the images, and of
    one that indexes four times as many, which differ from them in one pixel. Linux only.
"""

import argparse
import multiprocessing
import os
import secrets
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from result_file import write_results
from scipy.spatial.distance import cdist
from torch.utils.flop_counter import FlopCounterMode

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import create, make_folder
from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding
from embeddings.images.errors import ImageError, NoImages
from embeddings.images.find import find
from embeddings.pipeline import in_order, workers
from embeddings.types import GreyImage
from embeddings.views.keypoints import CONTRAST, COUNT, LAYERS, SIZE, detected, resized
from embeddings.views.network import Network, load
from embeddings.views.phash import PHash
from embeddings.views.pixels import Pixels
from embeddings.views.registry import VIEWS, make_view
from embeddings.views.resnet import ResNet
from embeddings.views.resnet_settings import BATCH
from embeddings.views.sift import Sift
from indexer.build.build import Settings, build
from indexer.collection import Collection
from query.benchmarks.benchmark import BenchmarkSettings, write_benchmark

CHUNK = BATCH  # images for each message to the pool
RACE = 1024  # images with which the forms of a kernel race, and those of each view against the loop
QUERIES, K = 200, 10
# least cosine to the loop's vectors; the network may compute in bfloat16
NEAR = {"phash": 1.0, "resnet": 0.99, "pixels": 0.9999, "sift": 0.9999}

Work = Callable[[range], Any]  # does the images of these numbers
Forms = Mapping[str, Work]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Bench:
    """The images, on disk and in memory, and the views."""

    folder: Path
    paths: Sequence[Path]
    images: Sequence[GreyImage]
    phash: PHash
    sift: Sift
    resnet: ResNet
    pixels: Pixels

    @classmethod
    def of(cls, folder: Path) -> "Bench":
        """First frames of all images of a folder.

        Raises:
            NoImages: there are none.
            ImageError: one cannot be read.
        """
        source = find(folder)
        paths = [source.root / name for name in source.files]
        views: dict[str, Any] = {name: make_view(name, options, Decoding(), "cpu") for name, options in VIEWS.items()}
        return cls(folder, paths, list(in_order(first_frame, paths)), **views)

    @property
    def some(self) -> range:
        """Numbers of the images for short races."""
        return range(min(RACE, len(self.images)))


def first_frame(path: Path) -> GreyImage:
    """The first frame of a file."""
    return next(iter(decode(path, Decoding()))).pixels


def seconds_of(work: Callable[[], Any]) -> float:
    """Wall time."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def on_all_cores(work: Work, numbers: range) -> float:
    """Wall time of the work on these images, one thread on each core."""
    chunks = [numbers[start : start + CHUNK] for start in range(0, len(numbers), CHUNK)]

    def run() -> None:
        for _ in in_order(work, chunks):
            pass

    return seconds_of(run)


def shown(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{np.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def build_in(scratch: Path, folder: Path, *views: str) -> Collection:
    """A new collection of the folder's images, by these views or all."""
    settings = Settings(views={view: {} for view in views or VIEWS})
    return build(scratch / secrets.token_hex(8), folder, settings=settings, device="cpu")


# Kernels


def compare_with_kernels(bench: Bench, rounds: int, scratch: Path) -> dict[str, Any]:
    """The whole against the sum of its kernels; ms an image."""
    chosen, by_form = {}, {}
    print("kernels, ms an image on all cores:")
    for name, forms in kernels(bench).items():
        medians = race(forms, bench.some)
        best, *_ = sorted(medians, key=medians.__getitem__)
        chosen[name], by_form[name] = forms[best], medians
        print(f"  {name}: " + ", ".join(f"{form} {medians[form]:.3f}" for form in medians) + f"; taken: {best}")
    count = len(bench.images)
    half = count // (2 * CHUNK) * CHUNK
    whole, phash, parts = [], [], []
    for _ in range(rounds):
        before = [on_all_cores(work, range(half)) for work in chosen.values()]
        whole.append(seconds_of(lambda: build_in(scratch, bench.folder)))
        phash.append(seconds_of(lambda: build_in(scratch, bench.folder, "phash")))
        after = [on_all_cores(work, range(half, count)) for work in chosen.values()]
        parts.append(np.add(before, after))
    each = ", ".join(f"{name} {t * 1000 / count:.3f}" for name, t in zip(chosen, np.median(parts, axis=0), strict=True))
    print(f"whole {np.median(whole) * 1000 / count:.3f} ms an image; kernels alone: {each}")
    print(f"whole / sum of kernels: {shown([w / part.sum() for w, part in zip(whole, parts, strict=True)])}")
    both = [sum(time for name, time in zip(chosen, part, strict=True) if name in ("decode", "phash")) for part in parts]
    ratio = shown([w / kernels for w, kernels in zip(phash, both, strict=True)])
    print(f"phash alone {np.median(phash) * 1000 / count:.3f} ms an image; / its kernels, decode and phash: {ratio}")
    share_of_peak(bench, chosen["resnet"])
    alone = dict(zip(chosen, (np.median(parts, axis=0) * 1000 / count).tolist(), strict=True))
    wholes = {name: float(np.median(times)) * 1000 / count for name, times in (("whole", whole), ("phash alone", phash))}
    return {**wholes, "kernels alone": alone, "forms": by_form}


def kernels(bench: Bench) -> dict[str, Forms]:
    """Every kernel in each of its known forms."""
    paths, images = bench.paths, bench.images
    return {
        "decode": {
            "embeddings.images.decode": lambda numbers: [first_frame(paths[i]) for i in numbers],
            "Pillow": lambda numbers: [plain_decode(paths[i]) for i in numbers],
            "OpenCV": lambda numbers: [cv2.imread(str(paths[i]), cv2.IMREAD_GRAYSCALE) for i in numbers],
        },
        "phash": {
            "embeddings.views.phash": lambda numbers: bench.phash.features([images[i] for i in numbers]),
            "imagehash": lambda numbers: [plain_phash(images[i], bench.phash.bits) for i in numbers],
        },
        "sift": sift_forms(bench),
        "resnet": resnet_forms(bench),
        "pixels": {"embeddings.views.pixels": lambda numbers: bench.pixels.features([images[i] for i in numbers])},
    }


def sift_forms(bench: Bench) -> Forms:
    """Detection and description of images that have the view's size already."""
    images = [resized(image, SIZE) for image in bench.images]

    def work(numbers: range) -> None:
        for i in numbers:
            detected(images[i])

    return {"embeddings.views.sift": work}


def resnet_forms(bench: Bench) -> Forms:
    """Forward passes over finished batches: as the view does them, as a frozen TorchScript graph, and compiled."""
    view, images = bench.resnet, bench.images
    network = Network(view.settings, "cpu")
    batches = [network.batch(view.shrunk(images[start : start + BATCH])) for start in range(0, len(images), BATCH)]
    body = network.body
    makers: dict[str, Callable[[], Any]] = {
        "embeddings.views.network": lambda: body,
        "TorchScript": lambda: torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(body, batches[0]))),
        "torch.compile": lambda: torch.compile(body),
    }
    forms: dict[str, Work] = {}
    for name, make in makers.items():
        try:
            forms[name] = partial(forward, warm(make, body, batches[0]), network.pool, batches)
        except Exception as error:  # compilers fail in many ways, one of which is to be missing
            print(f"  resnet as {name}: not possible here ({type(error).__name__})")
    return forms


@torch.inference_mode()
def warm(make: Callable[[], Any], body: Any, batch: torch.Tensor) -> Any:
    """A form of the network, ready, if it gives what the network itself gives.

    Raises:
        ValueError: it does not.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the pool: compiled code is made for a number of threads
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated, and is measured all the same
            form = make()
            for _ in range(3):
                made = form(batch).float().flatten(1)
        if torch.cosine_similarity(made, body(batch).float().flatten(1)).min() < NEAR["resnet"]:
            raise ValueError("other features")
        return form
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def forward(form: Any, pool: Any, batches: Sequence[torch.Tensor], numbers: range) -> None:
    """Features of a batch."""
    pool(form(batches[numbers.start // BATCH]).float())


def race(forms: Forms, numbers: range) -> dict[str, float]:
    """ms an image of each form, medians of three turns after one that does not count."""
    turns = [{name: on_all_cores(work, numbers) for name, work in forms.items()} for _ in range(4)][1:]
    return {name: float(np.median([turn[name] for turn in turns])) * 1000 / len(numbers) for name in forms}


def share_of_peak(bench: Bench, passes: Work) -> None:
    """Operations of the network in a second against those of a large matrix product of the same type."""
    network = Network(bench.resnet.settings, "cpu")
    batch = network.batch(bench.resnet.shrunk(bench.images[:1]))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.body(batch)
    operations, size, products = counter.get_total_flops() / BATCH, 2048, 4 * workers()
    matrix = torch.ones((size, size), dtype=network.dtype)

    def multiply(_: int) -> None:
        torch.mm(matrix, matrix)

    shares = []
    for _ in range(5):
        peak = products * 2 * size**3 / seconds_of(lambda: list(in_order(multiply, range(products))))
        images = -(-len(bench.some) // BATCH) * BATCH
        shares.append(images * operations / on_all_cores(passes, bench.some) / peak)
    print(f"resnet: {operations / 1e9:.2f} GFLOP an image; share of the {network.precision} peak: {shown(shares)}")


# The plain way


def compare_with_plain(bench: Bench, rounds: int, loop: int, scratch: Path) -> dict[str, Any]:
    """Each view and the whole against the loop, ms an image, and whether the vectors are equal."""
    collection = build_in(scratch, bench.folder)
    plain = Plain(bench, collection)
    steps: dict[str, Callable[[int], Any]] = {name: getattr(plain, name) for name in ("decode", *VIEWS)}
    chosen = [int(i) for i in np.linspace(0, len(bench.images) - 1, min(loop, len(bench.images)))]
    ours: dict[str, list[float]] = {name: [] for name in (*VIEWS, "search", "whole")}
    theirs: dict[str, list[float]] = {name: [] for name in (*steps, "search")}
    for _ in range(rounds):
        for name in VIEWS:
            theirs[name].append(step_seconds(steps[name], chosen))
            work = partial(embed, collection, name, bench.images)
            ours[name].append(on_all_cores(work, bench.some) / len(bench.some))
        theirs["decode"].append(step_seconds(plain.decode, chosen))
        theirs["search"].append(seconds_of(plain.search) / len(bench.images))
        ours["search"].append(seconds_of(partial(search, collection)) / len(bench.images))
        ours["whole"].append(seconds_of(lambda: build_in(scratch, bench.folder)) / len(bench.images) + ours["search"][-1])
    theirs["whole"] = list(np.sum(list(theirs.values()), axis=0))
    print(f"plain way over {len(chosen)} images, ms an image: ", end="")
    print(", ".join(f"{name} {np.median(values) * 1000:.3f}" for name, values in theirs.items()))
    for name, values in ours.items():
        times = [t / o for t, o in zip(theirs[name], values, strict=True)]
        print(f"{name}: {np.median(values) * 1000:.3f} ms an image, {shown(times)} times as fast as the plain way")
    views_equal = [equal(collection, name, steps[name], chosen) for name in VIEWS]
    figures = {
        side: {name: float(np.median(values)) * 1000 for name, values in seconds.items()}
        for side, seconds in (("ours", ours), ("plain", theirs))
    }
    return {**figures, "equal": all(views_equal)}


def step_seconds(step: Callable[[int], Any], numbers: Sequence[int]) -> float:
    """Median time of a step for one image."""
    return float(np.median([seconds_of(partial(step, i)) for i in numbers]))


def embed(collection: Collection, view: str, images: Sequence[GreyImage], numbers: range) -> None:
    """Vectors of these images in a view."""
    collection.embedder(view).embed([images[i] for i in numbers])


def search(collection: Collection) -> None:
    """The nearest images of the first ones by pHash."""
    collection.nearest("phash", collection.vectors("phash")[:QUERIES], K)


def equal(collection: Collection, view: str, step: Callable[[int], Any], numbers: Sequence[int]) -> bool:
    """Print and tell whether the loop's vectors are the collection's."""
    ours, theirs = collection.vectors(view)[numbers], np.stack([step(i) for i in numbers])
    if ours.dtype == np.uint8:
        near, least = float(np.mean(np.all(ours == theirs, axis=1))), 1.0
        print(f"{view}: {near:.2%} of the loop's codes are equal")
    else:
        near, least = float(np.min((ours * theirs).sum(axis=1))), NEAR[view]
        print(f"{view}: least cosine to the loop's vectors {near:.6f}")
    return near >= least


def plain_decode(path: Path) -> GreyImage:
    """Pillow's grey pixels."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def plain_phash(image: GreyImage, bits: int) -> NDArray[np.uint8]:
    """Packed code by imagehash."""
    return np.packbits(imagehash.phash(Image.fromarray(image), hash_size=round(bits**0.5)).hash)


class Plain:
    """One image at a time, as one would first write it; what views learned comes from a finished collection."""

    def __init__(self, bench: Bench, collection: Collection) -> None:
        self.bench = bench
        self.codes = collection.vectors("phash")
        self.learned = {view: collection.learned(view) for view in VIEWS}
        self.detector = cv2.SIFT_create(nfeatures=COUNT, contrastThreshold=CONTRAST)  # type: ignore[attr-defined]
        self.network = load(bench.resnet.settings)
        self.network.fc = torch.nn.Identity()

    def decode(self, i: int) -> GreyImage:
        """Pixels."""
        return plain_decode(self.bench.paths[i])

    def phash(self, i: int) -> NDArray[np.uint8]:
        """Packed code."""
        return plain_phash(self.bench.images[i], self.bench.phash.bits)

    @torch.inference_mode()
    def resnet(self, i: int) -> Floats:
        """Whitened features."""
        size = self.bench.resnet.settings.size
        grey = cv2.resize(self.bench.images[i], (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
        grey = (grey - grey.mean()) / (grey.std() + 1e-3)
        features = self.network(torch.from_numpy(np.stack([grey] * self.network.conv1.in_channels))[None])[0].numpy()
        return self.whitened("resnet", features)

    def pixels(self, i: int) -> Floats:
        """Whitened grey levels."""
        size = self.bench.pixels.settings.size
        small = cv2.resize(self.bench.images[i], (size, size), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
        small -= small.mean()
        return self.whitened("pixels", small / np.linalg.norm(small))

    def sift(self, i: int) -> Floats:
        """Whitened VLAD of RootSIFT."""
        settings, words = self.bench.sift.settings, self.learned["sift"]["words"]
        image = resized(self.bench.images[i], SIZE)
        keypoints, descriptors = self.detector.detectAndCompute(image, None)
        vlad = np.zeros_like(words)
        order = sorted(range(len(keypoints)), key=lambda n: -keypoints[n].response)[: settings.keypoints]
        if clear := [n for n in order if np.float32(keypoints[n].response) * LAYERS >= settings.contrast]:
            half = np.array([image.shape[1], image.shape[0]]) / 2
            places = (np.array([keypoints[n].pt for n in clear]) - half) / (SIZE / 2) * settings.position
            descriptors = descriptors[clear]
            points = np.hstack([np.sqrt(descriptors / descriptors.sum(axis=1, keepdims=True)), places])
            for point, nearest in zip(points, cdist(points, words).argmin(axis=1), strict=True):
                vlad[nearest] += point - words[nearest]
        vlad /= np.maximum(np.linalg.norm(vlad, axis=1, keepdims=True), 1e-4)  # shorter ones are rounding
        flat = (np.sign(vlad) * np.sqrt(np.abs(vlad))).ravel()
        return self.whitened("sift", flat / max(float(np.linalg.norm(flat)), 1e-9))

    def whitened(self, view: str, vector: Floats) -> Floats:
        """Mean and axes applied, where the view learned any."""
        learned = self.learned[view]
        if "mean" in learned:
            vector = (vector - learned["mean"]) @ learned["axes"]
        return vector / np.linalg.norm(vector)

    def search(self) -> None:
        """Hamming distances of the first images to all, query by query."""
        bits = np.unpackbits(self.codes, axis=1)
        for query in bits[:QUERIES]:
            np.argsort(np.count_nonzero(bits != query, axis=1), kind="stable")[:K]


# Memory


def compare_memory(bench: Bench, scratch: Path) -> dict[str, float]:
    """Largest resident memory with the images, and with four times as many; GB."""
    if not Path("/proc/self/status").exists():
        print("memory: not measured, there is no /proc here")
        return {}
    largest = {}
    for times in (1, 4):
        folder = scratch / f"times_{times}"
        write_variants(bench, folder, times)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            largest[times] = pool.apply(largest_memory, (folder, scratch))
        print(f"memory with {len(bench.paths) * times:,} images: at most {largest[times] / 1e9:.3f} GB apart from mapped files")
    print(f"memory with four times as many images / with one time: {largest[4] / largest[1]:.3f}")
    return {f"{times} times": size / 1e9 for times, size in largest.items()}


def write_variants(bench: Bench, folder: Path, times: int) -> None:
    """Each image so many times as PNG, in each with another corner pixel."""
    make_folder(folder)

    def write(i: int) -> None:
        for number in range(times):
            pixels = bench.images[i].copy()
            pixels[0, 0] ^= number
            with create(folder / f"{i:07d}_{number}.png") as file:
                Image.fromarray(pixels).save(file, "PNG", compress_level=1)

    for _ in in_order(write, range(len(bench.images))):
        pass


def largest_memory(folder: Path, scratch: Path) -> int:
    """Index a folder in this process; gives the largest resident memory apart from mapped files, bytes, seen every 20 ms."""
    seen = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            seen.append(sum(int(status[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        build_in(scratch, folder)
    finally:
        done.set()
        watcher.join()
    return max(seen)


# Command line


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", metavar="IMAGES", help="a folder of images; default: procedural slices")
    parser.add_argument("--parts", default="kernels,plain,memory", help="default: %(default)s")
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="procedural slices; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument("--loop", type=int, default=200, metavar="N", help="images for the plain way; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too, with commit and machine")
    options = parser.parse_args()
    unknown = set(options.parts.split(",")) - {"kernels", "plain", "memory"}
    if unknown:
        parser.error(f"there is no part {min(unknown)!r}; there are kernels, plain and memory")
    if min(options.count, options.rounds, options.loop) < 1:
        parser.error("--count, --rounds and --loop must be positive")
    return options


def main() -> int:
    options = arguments()
    figures: dict[str, Any] = {}
    with temporary_folder() as name:
        scratch = Path(name)
        if options.folder is None:
            write_benchmark(scratch / "made", BenchmarkSettings(generated=options.count))
        try:
            bench = Bench.of(options.folder or scratch / "made" / "generated")
        except (NoImages, ImageError) as error:
            print(f"bench/index.py: {error}", file=sys.stderr)
            return 2
        print(f"{len(bench.paths):,} images, {workers()} cores, load before {os.getloadavg()[0]:.2f}, {options.rounds} rounds")
        if "kernels" in options.parts:
            figures["kernels"] = compare_with_kernels(bench, options.rounds, scratch)
        if "plain" in options.parts:
            figures["plain"] = compare_with_plain(bench, options.rounds, options.loop, scratch)
        if "memory" in options.parts:
            figures["memory"] = compare_memory(bench, scratch)
    if options.json:
        write_results(options.json, figures)
    return 0 if figures.get("plain", {"equal": True})["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
