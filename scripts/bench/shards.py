#!/usr/bin/env python3
"""Measure what Ray costs when images are indexed in shards: the same images in this process, on a local session, on two nodes.

Images are drawn, a tenth of them anew and the others moved and shifted in grey, so that no two are equal. Each run is a process
of its own, starts with an empty folder and uses two cores; what all make must have one fingerprint. Times are those of the
clock; a local session's start and end are included, those of the two nodes of one core each, both on this machine, are not: a
cluster runs before. `ratio` is that of Ray over this process. Measure on an idle machine: on a busy one the run with more
processes gets more of it, and Ray looks quicker than it is.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from common.command import Parser, run
from common.nodes import cluster, draw_token
from PIL import Image
from result_file import write_results

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import create, make_folder
from embeddings.phantoms.slices import phantom
from indexer.build.build import Settings
from indexer.execution.on_ray import executor
from indexer.sharded.build import Sharding, index_shards


def draw(folder: Path, count: int, size: int) -> None:
    """So many different slices."""
    make_folder(folder)
    for number in range(count):
        base, turn = divmod(number, 10)
        pixels = np.roll(phantom(base, size), 3 * turn, axis=1) // 2 + 5 * turn if turn else phantom(base, size)
        with create(folder / f"{number:06d}.png") as file:
            Image.fromarray(pixels.astype(np.uint8)).save(file, format="PNG")


def index(images: Path, out: Path, given: argparse.Namespace) -> str:
    """Index in shards where the arguments say; the fingerprint."""
    settings = Settings(views={view: {} for view in given.view})
    with executor(given.ray) as work:
        made = index_shards(images, out, settings=settings, sharding=Sharding(given.shard, device="cpu"), executor=work)
    return made.manifest.fingerprint


def measured(folder: Path, name: str, ray: list[str]) -> tuple[float, str]:
    """One run in a process of its own: seconds, fingerprint."""
    started = time.monotonic()
    command = [sys.executable, *sys.argv, "--within", str(folder), "--name", name, *ray]
    fingerprint = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return round(time.monotonic() - started, 2), fingerprint


def in_turn(folder: Path, number: int, kinds: dict[str, list[str]]) -> dict[str, float]:
    """Seconds of a run of each kind, begun with another kind each time.

    Raises:
        SystemExit: they made different collections.
    """
    names = list(kinds)
    first = number % len(names)
    runs = {name: measured(folder, f"{name}-{number}", kinds[name]) for name in names[first:] + names[:first]}
    if len({fingerprint for _, fingerprint in runs.values()}) > 1:
        raise SystemExit("the collections differ")
    for name in names:
        shutil.rmtree(folder / f"{name}-{number}")
    return {name: runs[name][0] for name in names}


def main() -> None:
    """Draw, index in turn, compare."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="slices to draw (default 10,000)")
    parser.add_argument("--size", type=int, default=128, help="pixels of a side (default 128)")
    parser.add_argument("--shard", type=int, default=1_000, help="images in a shard (default 1,000)")
    parser.add_argument("--view", action="append", help="view; repeat it for several (default phash and sift)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of a run of each kind (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures too")
    for inner in ("--within", "--name", "--ray"):  # of the runs that this script starts
        parser.add_argument(inner, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.view = given.view or ["phash", "sift"]
    if given.within:
        print(index(Path(given.within, "images"), Path(given.within, given.name), given))
        return
    os.environ["SYNTHTRACE_SALT"] = "the same for all runs of this script"
    draw_token()
    rounds = []
    with temporary_folder() as folder, cluster() as (address, _):
        draw(folder / "images", given.images, given.size)
        kinds = {"here": [], "ray": ["--ray", "local"], "two_nodes": ["--ray", address]}
        for number in range(given.rounds):
            rounds.append(in_turn(folder, number, kinds))
            print(rounds[-1], flush=True)
    ratios = {kind: statistics.median(each[kind] / each["here"] for each in rounds) for kind in ("ray", "two_nodes")}
    print(f"medians of ratios: {ratios}")
    if given.json:
        write_results(given.json, {"median_ratios": ratios, "rounds": rounds})


if __name__ == "__main__":
    run("shards.py", main)
