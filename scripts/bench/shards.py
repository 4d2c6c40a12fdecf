#!/usr/bin/env python3
"""Measure what Ray costs when images are indexed in shards: the same images in this process and on a local session, in turn.

Images are drawn, a tenth of them anew and the others moved and shifted in grey, so that no two are equal. Each run starts with an
empty folder. `ratio` is the time on Ray, start and end of the session included, over the time in this process; `begun` leaves the
start out. Both runs use all cores, and what they make must have one fingerprint. Work beside it disturbs: see the load.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
from common.command import Parser, run
from PIL import Image
from result_file import write_results

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import create, make_folder
from embeddings.phantoms.slices import phantom
from indexer.build.build import Settings
from indexer.execution.executor import Executor
from indexer.execution.in_process import InProcess
from indexer.execution.on_ray import OnRay
from indexer.sharded.build import Sharding, index_shards


def draw(folder: Path, count: int, size: int) -> None:
    """So many different slices."""
    make_folder(folder)
    for number in range(count):
        base, turn = divmod(number, 10)
        pixels = np.roll(phantom(base, size), 3 * turn, axis=1) // 2 + 5 * turn if turn else phantom(base, size)
        with create(folder / f"{number:06d}.png") as file:
            Image.fromarray(pixels.astype(np.uint8)).save(file, format="PNG")


def timed(images: Path, out: Path, given: argparse.Namespace, on_ray: bool) -> tuple[float, float, str]:
    """Seconds in all, seconds after the start of the executor, fingerprint."""
    settings = Settings(views={view: {} for view in given.view})
    started = time.monotonic()
    executor: Executor = OnRay() if on_ray else InProcess()
    begun = time.monotonic()
    with executor:
        made = index_shards(images, out, settings=settings, sharding=Sharding(given.shard, device="cpu"), executor=executor)
    ended = time.monotonic()
    return ended - started, ended - begun, made.manifest.fingerprint


def main() -> None:
    """Draw, index in turn, compare."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="slices to draw (default 10,000)")
    parser.add_argument("--size", type=int, default=128, help="pixels of a side (default 128)")
    parser.add_argument("--shard", type=int, default=1_000, help="images in a shard (default 1,000)")
    parser.add_argument("--view", action="append", help="view; repeat it for several (default phash and sift)")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of runs (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures too")
    given = parser.parse_args()
    given.view = given.view or ["phash", "sift"]
    os.environ["SYNTHTRACE_SALT"] = "the same for all runs of this script"
    pairs = []
    with temporary_folder() as folder:
        draw(folder / "images", given.images, given.size)
        for number in range(given.pairs):
            order = (False, True) if number % 2 == 0 else (True, False)
            runs = {on_ray: timed(folder / "images", folder / f"{number}-{on_ray}", given, on_ray) for on_ray in order}
            (here, _, fingerprint), (there, begun, other) = runs[False], runs[True]
            if fingerprint != other:
                raise SystemExit("the two collections differ")
            pairs.append({"here": here, "on_ray": there, "ratio": there / here, "begun": begun / here})
            print({name: round(value, 3) for name, value in pairs[-1].items()}, flush=True)
    medians = {name: round(statistics.median(pair[name] for pair in pairs), 3) for name in pairs[0]}
    print(f"medians: {medians}")
    if given.json:
        rounded = [{name: round(value, 3) for name, value in pair.items()} for pair in pairs]
        write_results(given.json, {"medians": medians, "pairs": rounded})


if __name__ == "__main__":
    run("shards.py", main)
