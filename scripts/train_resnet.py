#!/usr/bin/env python3
"""Train the bundled network on procedural pictures only; no real image is used in training or selection.

    train_resnet.py OUT.safetensors --work DIR [--pictures 48000] [--steps 3300] [--every 250] [--sizes 96,128] [--seed 0]
                    [--start WEIGHTS] [--rate 0.001] [--average 0.998] [--device cpu]

Draws pictures (siblings of one procedural patient, and pictures of shapes), trains on them, and every so many steps measures the
moving average of the weights on procedural benchmarks that the training never sees. The best of these is written to OUT in half
precision, with a card in the file's metadata and beside it in OUT's name with .json. With --start it goes on from weights
that are there, `bundled` or a file; a lower rate and a shorter average (3e-4, 0.99) suit that.

Pictures are drawn, and distorted, at 256 px, and reduced last: a window of 70% of the side still has more pixels than the network
sees.

In the work folder: pictures.npy, validation/, state.pt (a killed run goes on from it: give the same command again), log.csv and
curve.csv (loss and validation by step and seconds).
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from embeddings.files.writing import make_folder, write_text
from embeddings.phantoms.slices import phantom
from embeddings.training.shapes import shapes
from embeddings.training.trainer import Pictures, Recipe, Trainer
from embeddings.types import GreyImage
from embeddings.views.network import copy_network, load_copy_network, save_copy_network
from embeddings.views.resnet import ResNet
from embeddings.views.resnet_settings import ResNetSettings, WeightsError
from query.benchmarks.benchmark import BenchmarkSettings, Kind, write_benchmark
from query.benchmarks.source_finding import Benchmark, Row, before_siblings, figures, likeness, read_benchmark

SIDE = 256  # pixels of the pictures; a window of them is cut out before they are reduced
SMALL_UNTIL = 0.4  # of the steps, where small pictures come first
SHAPES = 0.25  # share of pictures that show no body
VALIDATION_SEEDS = {"plain": 901, "hidden": 902, "siblings": 903}  # seeds of phantoms from 901 million on


# Pictures -----------------------------------------------------------------------------------------------------------------


def draw(number: int, bodies: int) -> GreyImage:
    """Picture by number: two siblings of a patient after each other, then the pictures of shapes."""
    return phantom(number // 2, SIDE, sibling=number % 2) if number < bodies else shapes(number, SIDE)


def pictures(work: Path, count: int) -> Pictures:
    """All pictures, drawn once and kept."""
    path = work / "pictures.npy"
    bodies = round(count * (1 - SHAPES)) // 2 * 2
    if not path.exists():
        part = path.with_suffix(".part")
        pixels = np.lib.format.open_memmap(part, "w+", np.uint8, (count, SIDE, SIDE))
        with ProcessPoolExecutor(os.cpu_count(), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            for number, picture in enumerate(pool.map(partial(draw, bodies=bodies), range(count), chunksize=64)):
                pixels[number] = picture
                if number % 1000 == 999:
                    print(f"\r{number + 1} of {count} pictures", end="", file=sys.stderr, flush=True)
        pixels.flush()
        part.rename(path)
    pixels = np.load(path, mmap_mode="r")
    if len(pixels) != count:
        raise SystemExit(f"train_resnet.py: {path} holds {len(pixels)} pictures, not {count}; remove it, or ask for as many")
    numbers = np.arange(count)
    return Pictures(pixels, np.where(numbers < bodies, numbers // 2, numbers))


# Validation ---------------------------------------------------------------------------------------------------------------


def validation(work: Path) -> dict[str, Benchmark]:
    """Procedural benchmarks: every source shown, most of them hidden, and siblings side by side."""
    folder = work / "validation"
    every = tuple(Kind)
    for name, seed in VALIDATION_SEEDS.items():
        out = folder / name
        if (out / "truth_real.csv").exists():  # it is written last
            continue
        shutil.rmtree(out, ignore_errors=True)
        if name == "plain":
            write_benchmark(out, BenchmarkSettings(generated=2400, used=300, unused=300, kinds=every, seed=seed))
        elif name == "hidden":
            write_benchmark(
                out, BenchmarkSettings(generated=1600, used=100, unused=100, hidden=400, copied=0.5, kinds=every, seed=seed)
            )
        else:
            write_benchmark(
                out, BenchmarkSettings(generated=1200, used=300, unused=300, kinds=(Kind.WARP,), seed=seed, siblings=True)
            )
    return {name: read_benchmark(folder / name) for name in VALIDATION_SEEDS}


def measure(view: ResNet, benchmark: Benchmark) -> Row:
    """Of a benchmark of siblings how often a source comes before its sibling, else first hits by kind and the AUROC of d1."""
    alike = likeness(view, benchmark)
    return before_siblings(benchmark, alike) or figures(benchmark, alike)


def validate(weights: Path, benchmarks: dict[str, Benchmark]) -> Row:
    """All rows, and their mean, by which the best network is chosen."""
    view = ResNet(ResNetSettings(weights=str(weights)), {})
    rows = {f"{name}: {row}": v for name, benchmark in benchmarks.items() for row, v in measure(view, benchmark).items()}
    return {"mean": float(np.mean(list(rows.values()))), **rows}


# Training -----------------------------------------------------------------------------------------------------------------


def append(path: Path, row: dict[str, float | int]) -> None:
    """One more line of a CSV table."""
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow({k: round(v, 5) for k, v in row.items()})


def past(path: Path, step: int) -> list[dict[str, str]]:
    """The lines of a CSV table up to a step. Later ones, of a run that was killed before it saved, are taken out of the file."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
    path.unlink()
    for row in rows:
        append(path, {name: float(value) if "." in value else int(value) for name, value in row.items()})
    return rows


def commit() -> str:
    """The commit that this file belongs to."""
    told = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "unknown"


def describe(recipe: Recipe, count: int) -> dict[str, object]:
    """What a card says whatever comes out."""
    return {
        "data": f"{count} procedural pictures of {SIDE} px: {SHAPES:.0%} shapes, else pairs of siblings; no real image",
        "distortions": "embeddings/training/augmentation.py",
        "commit": commit(),
        "torch": torch.__version__,
        "recipe": asdict(recipe),
    }


def write_network(out: Path, module: torch.nn.Module, card: dict[str, object]) -> None:
    """The network with its card."""
    save_copy_network(module, out, card)
    write_text(out.with_suffix(".json"), json.dumps(card, indent=1) + "\n")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--pictures", type=int, default=48_000, metavar="N")
    parser.add_argument("--steps", type=int, default=3300, metavar="N")
    parser.add_argument("--batch", type=int, default=128, metavar="N")
    parser.add_argument("--every", type=int, default=250, metavar="N", help="measure and save after so many steps")
    sizes = "pixels a side: in the first 40%% of the steps, then; or one for all"
    parser.add_argument("--sizes", type=sides, default="96,128", metavar="A,B", help=sizes)
    parser.add_argument("--start", metavar="WEIGHTS", help="go on from these, bundled or a file")
    parser.add_argument("--rate", type=float, default=Recipe.rate, metavar="R", help="highest learning rate")
    parser.add_argument("--average", type=float, default=Recipe.average, metavar="A", help="decay of the moving average a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    return parser.parse_args(argv)


def recipe_of(options: argparse.Namespace) -> Recipe:
    """How to train, as asked for."""
    *first, last = options.sizes
    sizes = (*((SMALL_UNTIL, side) for side in first), (1.0, last))
    return Recipe(options.steps, options.batch, sizes, options.rate, average=options.average, seed=options.seed)


def sides(text: str) -> tuple[int, ...]:
    """One or two sides of pictures."""
    found = tuple(int(side) if side.isdecimal() else 0 for side in text.split(","))
    if not 1 <= len(found) <= 2 or min(found) < 32:
        raise argparse.ArgumentTypeError(f"expected one or two sides of at least 32 pixels, such as 96,128, got {text!r}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    cv2.setNumThreads(1)
    work: Path = options.work
    make_folder(work)
    recipe = recipe_of(options)
    try:
        module = load_copy_network(options.start) if options.start else copy_network(options.seed)
    except WeightsError as error:
        raise SystemExit(f"train_resnet.py: {error}") from error
    trainer = Trainer(module, pictures(work, options.pictures), recipe, options.device)
    benchmarks = validation(work)
    description = {**describe(recipe, options.pictures), "start": options.start or f"random:{options.seed}"}
    state, best, spent = work / "state.pt", -1.0, 0.0
    if state.exists():
        try:
            trainer.restore(state)
        except ValueError as error:
            raise SystemExit(f"train_resnet.py: {error}") from error
    past(work / "log.csv", trainer.step)
    for done in past(work / "curve.csv", trainer.step):
        best, spent = max(best, float(done["mean"])), float(done["seconds"])

    def report(step: int, loss: float) -> None:
        seconds = spent + time.monotonic() - started
        append(work / "log.csv", {"step": step, "seconds": seconds, "loss": loss})
        if step % 10 == 0:
            print(f"\r{step} of {recipe.steps} steps, loss {loss:.3f}, {seconds / step:.2f} s each  ", end="", file=sys.stderr)

    while trainer.step < recipe.steps:
        started = time.monotonic()
        trainer.run(min(trainer.step + options.every, recipe.steps), report)
        spent += time.monotonic() - started  # the time of training, not of measuring
        candidate = work / "candidate.safetensors"
        save_copy_network(trainer.averaged, candidate, {})
        row = validate(candidate, benchmarks)
        if row["mean"] > best:
            best = row["mean"]
            rounded = {k: round(v, 4) for k, v in row.items()}
            figures = {"step": trainer.step, "minutes": round(spent / 60, 1), "validation": rounded}
            write_network(options.out, trainer.averaged, {**description, **figures})
        append(work / "curve.csv", {"step": trainer.step, "seconds": spent, **row})
        trainer.save(state)
        print(f"\nstep {trainer.step}: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items()), file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
