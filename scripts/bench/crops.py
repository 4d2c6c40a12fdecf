#!/usr/bin/env python3
"""Measure what decides whether the bundled network finds a crop: how much of it is left, which way, which settings of the view.

    bench/crops.py [NAME=FOLDER[,GROUPS.csv]]... [--images 200] [--seed 101] [--json FILE]

For drawings, and for each folder, one image of each group is real (at most --images). Of half of them crops are made as
`make_benchmark.py` makes its kind crop, with a known side, and a copy of strength 2 follows:

  window   a part of the image, enlarged
  shrunk   the whole image made smaller, its border going on around it, or black

Prints the share of right first hits of crops for the settings by which the network was chosen during its training (112 px, head,
power 0.5), for those of the view (144 px, cubes, power 0.75), and for the steps between; for the view also by side and way.
Whitening learns from the crops and from three copies of each image.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from common.command import Parser, run
from network import view_of
from numpy.typing import NDArray
from result_file import write_results

from embeddings.phantoms.slices import SIZE, copy_of, phantom
from embeddings.types import GreyImage
from embeddings.views.resnet_settings import BUNDLED
from embeddings.views.whitening import fit_whitening
from query.benchmarks.benchmark import folder_slices
from query.benchmarks.source_finding import features
from query.evaluation.resampling import grouped_proportion
from query.inputs.groups import groups_from_csv

SETTINGS = ((112, "head", 0.5), (144, "head", 0.5), (144, "cubes", 0.5), (144, "cubes", 0.75))  # the last are the view's
SIDES = ((0.70, 0.78), (0.78, 0.87), (0.87, 0.95))
WAYS = ("window", "shrunk, border", "shrunk, black")
DRAWN = 905_000_000  # training draws none of these
STRENGTH = 2  # of the copy that follows

Figures = dict[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Crops:
    """Images by their source's number; way and side of each, empty for a copy that is no crop."""

    images: list[GreyImage]
    sources: NDArray[np.int64]
    ways: NDArray[np.str_]
    sides: NDArray[np.str_]


def cropped(image: GreyImage, way: str, share: float, rng: np.random.Generator) -> GreyImage:
    """A window of this share of the side enlarged, or the image shrunk to it."""
    side = round(SIZE * share)
    top, left = (int(n) for n in rng.integers(0, SIZE - side + 1, 2))
    if way == "window":
        return np.asarray(cv2.resize(image[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_CUBIC))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    border, rest = cv2.BORDER_CONSTANT if way.endswith("black") else cv2.BORDER_REPLICATE, SIZE - side
    return np.asarray(cv2.copyMakeBorder(small, top, rest - top, left, rest - left, border))


def make(real: Sequence[GreyImage], rng: np.random.Generator) -> Crops:
    """Every way and side of every image, and three copies."""

    def made() -> Iterator[tuple[GreyImage, int, str, str]]:
        for number, image in enumerate(real):
            for way in WAYS:
                for low, high in SIDES:
                    crop = cropped(image, way, float(rng.uniform(low, high)), rng)
                    yield copy_of(crop, STRENGTH, rng), number, way, f"{low:.2f}-{high:.2f}"
            for strength in (1, 2, 3):
                yield copy_of(image, strength, rng), number, "", ""

    images, sources, ways, sides = zip(*made(), strict=True)
    return Crops(list(images), np.array(sources), np.array(ways), np.array(sides))


def read(text: str, count: int, rng: np.random.Generator) -> list[GreyImage]:
    """One image of each of so many groups at most, of a folder."""
    folder, _, table = text.partition(",")
    slices = folder_slices(Path(folder), groups_from_csv(Path(table)) if table else {})
    first = {s.group: s for s in (slices[i] for i in rng.permutation(len(slices)))}
    return [s.load() for s in list(first.values())[:count]]


def named(text: str) -> tuple[str, str]:
    """A name, and where its images are."""
    name, equals, where = text.partition("=")
    if not (name and equals and where):
        raise argparse.ArgumentTypeError(f"expected NAME=FOLDER or NAME=FOLDER,GROUPS.csv, got {text!r}")
    return name, where


def measured(real: list[GreyImage], rng: np.random.Generator) -> dict[str, Figures]:
    """First hits of crops: by settings, and for the view by side and way."""
    crops = make(real[: len(real) // 2], rng)
    counted = crops.ways != ""
    figures: dict[str, Figures] = {"settings": {}, "side": {}, "way": {}}
    for size, output, power in SETTINGS:
        view = view_of(BUNDLED, size, output)
        generated, shown = (view.rows(features(view, images)) for images in (crops.images, real))
        whitening = fit_whitening(generated, 256, power)
        assert whitening, "fewer than 64 images"
        right = (whitening.apply(generated) @ whitening.apply(shown).T).argmax(axis=1) == crops.sources

        def share(rows: NDArray[np.bool_], right: NDArray[np.bool_] = right) -> tuple[float, float, float]:
            return grouped_proportion(right[rows], crops.sources[rows]).ends

        figures["settings"][f"{size} px, {output}, power {power}"] = share(counted)
    for name, values in (("side", crops.sides), ("way", crops.ways)):
        figures[name] = {str(value): share(values == value) for value in dict.fromkeys(values[counted])}
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="bench/crops.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", type=named, metavar="NAME=FOLDER[,GROUPS.csv]")
    parser.add_argument("--images", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    figures = {}
    for name, where in [("drawings", ""), *options.sets]:
        rng = np.random.default_rng(options.seed)
        real = read(where, options.images, rng) if where else [phantom(DRAWN + n) for n in range(options.images)]
        figures[name] = {"real": len(real), **measured(real, rng)}
        print(name, figures[name], sep="\n", flush=True)
    if options.json:
        write_results(options.json, figures, list(argv) if argv is not None else None)
    return 0


if __name__ == "__main__":
    run("bench/crops.py", main)
