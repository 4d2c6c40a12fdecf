#!/usr/bin/env python3
"""Measure which planted copies `duplicates` and `leaky-splits` find, and which pairs they find that are none.

    bench/repeats.py IMAGES --groups CSV [--patients 60] [--slices 6] [--copies 10] [--renamed 10] [--seed 7] [--json FILE]

Patients are dealt to training and test images, so many slices of each at most. Then are planted:

copies    of training images, in test, each under a patient of its own: equal files, and one distortion of `KINDS` each.
renamed   patients whose slices lie in both splits by turns, under a name in each.

Printed are: copies found, by kind, with and without flipped images; pairs of one patient (renamed or not); and pairs of two
patients, which are false if the groups are right: look at them (--sheet FOLDER). Exit codes: 0 done, 2 bad input.
"""

import argparse
import io
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common.command import Parser, run
from PIL import Image
from result_file import write_results

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import make_folder, write_atomic
from embeddings.images.orientation import Orientation
from embeddings.phantoms.slices import copy_of
from embeddings.types import GreyImage
from indexer.build.build import Settings, build
from query.benchmarks.benchmark import BenchmarkError, Kind, Slice, compose, folder_slices
from query.duplication.duplicates import Group, duplicates
from query.duplication.leaky_splits import leaky_splits
from query.duplication.pairs import Pair
from query.duplication.writing import write_duplicates, write_leaks
from query.inputs.groups import groups_from_csv

Draw = np.random.Generator


def jpeg(image: GreyImage, rng: Draw) -> GreyImage:
    """Compressed with quality 60."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file))


def tone(image: GreyImage, rng: Draw) -> GreyImage:
    """Another gamma and brightness."""
    made = 255 * (image / 255) ** rng.uniform(0.7, 1.4) * rng.uniform(0.85, 1.1)
    return np.clip(made, 0, 255).astype(np.uint8)


def shift(image: GreyImage, rng: Draw) -> GreyImage:
    """Moved by up to 12 of 256 pixels along each axis."""
    down, right = rng.integers(-12, 13, 2).tolist()
    return np.roll(image, (down, right), (0, 1))


def smaller(image: GreyImage, rng: Draw) -> GreyImage:
    """Of 180 pixels a side."""
    return np.asarray(cv2.resize(image, (180, 180), interpolation=cv2.INTER_AREA), np.uint8)


def warp(strength: int, image: GreyImage, rng: Draw) -> GreyImage:
    """As a memorising generator bends it."""
    return copy_of(image, strength, rng)


KINDS: Mapping[str, Callable[[GreyImage, Draw], GreyImage]] = {
    "equal": lambda image, rng: image,
    "jpeg": jpeg,
    "tone": tone,
    "shift": shift,
    "smaller": smaller,
    "crop": lambda image, rng: compose(Kind.CROP, image[None], rng),
    **{f"warp {strength}": partial(warp, strength) for strength in range(1, 6)},
    "mirror": lambda image, rng: compose(Kind.MIRROR, image[None], rng),
}


@dataclass
class World:
    """Name of an image -> its split, its patient as told, its patient in truth, and of a copy its source and kind."""

    split: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    true: dict[str, str] = field(default_factory=dict)
    source: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, path: Path, image: GreyImage, split: str, told: str, true: str) -> None:
        picture = Image.fromarray(image)
        write_atomic(path, lambda file: picture.save(file, "PNG"))
        self.split[path.name], self.told[path.name], self.true[path.name] = split, told, true


def planted(slices: Iterable[Slice], folder: Path, options: argparse.Namespace) -> World:
    """Write the images of a world into a folder."""
    rng = np.random.default_rng(options.seed)
    by_group: dict[str, list[Slice]] = defaultdict(list)
    for each in slices:
        by_group[each.group].append(each)
    names = sorted(by_group)
    chosen = [names[place] for place in rng.permutation(len(names))[: options.patients]]
    several = [name for name in chosen if len(by_group[name]) > 1][: options.renamed]
    world, training = World(), []
    for place, patient in enumerate(chosen):
        for turn, each in enumerate(by_group[patient][: options.slices]):
            renamed = patient in several
            split = ("train", "test")[(turn if renamed else place) % 2]
            image = each.load()
            path = folder / f"{Path(each.name).stem}.png"
            world.add(path, image, split, f"{patient} {split}" if renamed else patient, patient)
            if split == "train" and not renamed:
                training.append((path.name, image))
    for kind, make in KINDS.items():
        for number in range(options.copies):
            name, image = training[int(rng.integers(len(training)))]
            path = folder / f"copy_{kind.replace(' ', '')}_{number:02d}.png"
            world.add(path, make(image, rng), "test", path.stem, world.true[name])
            world.source[path.name] = name, kind
    return world


def counted(world: World, names: list[str], pairs: Iterable[Pair], groups: Iterable[Group]) -> dict[str, Any]:
    """Copies found by kind, in a pair or a group with their source, and pairs by what they are."""
    ends = {frozenset((names[pair.first], names[pair.second])) for pair in pairs}
    sets = [{names[row] for row in group.rows} for group in groups]
    found = Counter(
        kind
        for name, (source, kind) in world.source.items()
        if frozenset((name, source)) in ends or any({name, source} <= of for of in sets)
    )
    sources = {name: source for name, (source, _) in world.source.items()}
    what: Counter[str] = Counter()
    for first, second in ends:
        same = sources.get(first, first) == sources.get(second, second)
        what["one picture" if same else "one patient" if world.true[first] == world.true[second] else "two patients"] += 1
    return {"copies": {kind: found[kind] for kind in KINDS}, "pairs": {kind: what[kind] for kind in sorted(what)}}


def measured(world: World, folder: Path, work: Path, sheet: Path | None) -> dict[str, Any]:
    """All figures of a world."""
    images = build(work / "images", folder)
    turned = Settings.of(images.manifest, Orientation.FLIP_LEFT_RIGHT)
    flipped = build(work / "flipped", folder, settings=turned, fitted_on=images)
    report: dict[str, Any] = {"images": len(images), "copies of each kind": len(world.source) // len(KINDS)}
    ways: dict[str, Callable[[], Any]] = {
        "duplicates, patients known": partial(duplicates, images, groups=world.told),
        "duplicates, patients unknown": partial(duplicates, images),
        "leaky splits, patients known": partial(leaky_splits, images, splits=world.split, groups=world.told),
        "leaky splits, patients unknown": partial(leaky_splits, images, splits=world.split),
        "leaky splits, flipped too": partial(leaky_splits, images, splits=world.split, groups=world.told, mirrored=[flipped]),
    }
    for name, way in ways.items():
        found = way()
        report[name] = {
            "threshold": found.chance.threshold,
            "expected by chance": found.chance.expected,
            **counted(world, images.names, found.pairs, getattr(found, "groups", ())),
        }
        if sheet and name.endswith("patients known"):
            write = write_leaks if name.startswith("leaky") else write_duplicates
            write(found, sheet / name.split(",")[0].replace(" ", "-"))
        if name == "leaky splits, patients known":
            linked = {p.first.removesuffix(" train") for p in found.patients if p.first.removesuffix(" train") == p.second[:-5]}
            report[name]["renamed patients found"] = len(linked)
    report["renamed patients"] = len(
        {true for name, true in world.true.items() if world.told[name].endswith((" train", " test"))}
    )
    return report


def main() -> int:
    """Measure one folder of images."""
    parser = Parser(prog="repeats.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--groups", type=Path, help="CSV of image,group; without it each image is a patient")
    for name, default in (("patients", 60), ("slices", 6), ("copies", 10), ("renamed", 10), ("seed", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--sheet", type=Path, help="folder for tables and sheets of pictures")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    slices = folder_slices(options.images, groups_from_csv(options.groups) if options.groups else {})
    if not slices:
        raise BenchmarkError(f"{options.images}: no images")
    with temporary_folder() as temporary:
        folder = Path(temporary) / "world"
        make_folder(folder)
        report = measured(planted(slices, folder, options), folder, Path(temporary), options.sheet)
    for name, figures in report.items():
        print(f"{name}: {figures}")
    if options.json:
        write_results(options.json, report)
    return 0


if __name__ == "__main__":
    run(Path(sys.argv[0]).name, main)
