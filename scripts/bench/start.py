#!/usr/bin/env python3
"""Measure how long a look-up takes from start to answer, beside loading the libraries of a search.

    bench/start.py [--rounds 15] [--before CHECKOUT] [--json FILE]

Makes a collection of 200 phantoms in all views and looks one image up, each time in a new process, in turn with the others:

  python    an interpreter that does nothing
  loaded    one that imports NumPy, Arrow, OpenCV, Pillow and FAISS: what a look-up by cosine distance needs
  phash     `synthtrace lookup --view phash`
  all       `synthtrace lookup` with all views
  before    with --before, `phash` by the code of another checkout; `all before` likewise

Prints medians of seconds, and of the ratio to `loaded` of the same round.

Exit codes: 0 done, 2 bad input.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
from common.command import Parser, run
from result_file import write_results

from embeddings.files.temporary import temporary_folder
from embeddings.files.writing import make_folder, write_bytes
from embeddings.phantoms.slices import phantom
from indexer.build.build import Settings, build

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 200
NEEDED = "import numpy, pyarrow.parquet, pyarrow.compute, cv2, PIL.Image, faiss"
LOOKUP = "from query.cli.main import main; main()"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="bench/start.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="of all in turn")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another checkout, whose `phash` is measured too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    given = parser.parse_args(argv)
    if given.rounds < 1:
        parser.error("--rounds must be positive")
    if given.before and not (given.before / "query" / "cli" / "main.py").is_file():
        parser.error(f"{given.before} is no checkout of synthtrace")
    return given


def seconds(code: str, *given: str, checkout: Path = ROOT) -> float:
    """Of a new process that runs this code of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *given], cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measured(folder: Path, rounds: int, before: Path | None) -> dict[str, dict[str, float]]:
    """Medians by what was started."""
    make_folder(folder / "images")
    for number in range(IMAGES):
        write_bytes(folder / "images" / f"{number:03d}.png", cv2.imencode(".png", phantom(number, 256))[1].tobytes())
    build(folder / "c", folder / "images", settings=Settings())
    one = ["lookup", str(folder / "images" / "000.png"), str(folder / "c")]
    kinds: dict[str, Callable[[], float]] = {
        "python": lambda: seconds("pass"),
        "loaded": lambda: seconds(NEEDED),
        "phash": lambda: seconds(LOOKUP, *one, "--view", "phash"),
        "all": lambda: seconds(LOOKUP, *one),
    }
    if before:
        kinds["before"] = lambda: seconds(LOOKUP, *one, "--view", "phash", checkout=before.resolve())
        kinds["all before"] = lambda: seconds(LOOKUP, *one, checkout=before.resolve())
    for start in kinds.values():  # files are in memory, and compiled
        start()
    taken = [{name: start() for name, start in kinds.items()} for _ in range(rounds)]
    return {
        name: {
            "seconds": statistics.median(each[name] for each in taken),
            "of loaded": statistics.median(each[name] / each["loaded"] for each in taken),
        }
        for name in kinds
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Command-line entry."""
    given = arguments(argv)
    with temporary_folder() as folder:
        figures = measured(folder, given.rounds, given.before)
    for name, each in figures.items():
        print(f"{name}: {each['seconds']:.3f} s, {each['of loaded']:.2f} of loaded")
    if given.json:
        write_results(given.json, figures)


if __name__ == "__main__":
    run("bench/start.py", main)
