#!/usr/bin/env python3
"""How often the orientation check is right, and how often it raises a false alarm, on images of a folder.

Each draw deals whole groups (patients) to two sides, at most 200 real and 400 generated images, so no image has a copy on the
other side. Once both lie as they are: any turn found is a false alarm. Then the real side is turned or flipped, by each of the
seven in turn: it counts as found where the check names the turn or flip that brings it back, and as noticed where it names any.

    .venv/bin/python scripts/bench/orientation.py FOLDER --groups CSV --draws 40 --seed 7
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from result_file import write_results

from embeddings.images.find import find
from embeddings.images.orientation import Orientation
from embeddings.types import GreyImage
from query.comparison.orientation import GENERATED, REALS, orientation_of
from query.inputs.groups import groups_from_csv

TURNS = [each for each in Orientation if each != Orientation.AS_IS]


def read(path: Path) -> GreyImage:
    """Grey levels of an image."""
    return np.asarray(Image.open(path).convert("L"))


def dealt(groups: list[str], rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Rows of the real and of the generated side: half of the groups each."""
    names = sorted(set(groups))
    ours = {names[i] for i in rng.permutation(len(names))[: len(names) // 2]}
    rows = rng.permutation(len(groups)).tolist()
    real = [row for row in rows if groups[row] in ours][:REALS]
    return real, [row for row in rows if groups[row] not in ours][:GENERATED]


def main() -> None:
    """Print and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--groups", type=Path, help="CSV of image,group; without it each image is a group")
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    source = find(asked.folder)
    images = [read(source.root / name) for name in source.files]
    named = groups_from_csv(asked.groups) if asked.groups else {}
    groups = [named.get(name, name) for name in source.files]
    rng, alarms, found, noticed, seconds = np.random.default_rng(asked.seed), 0, 0, 0, []
    for draw in range(asked.draws):
        real, generated = ([images[row] for row in rows] for rows in dealt(groups, rng))
        started = time.perf_counter()
        alarms += orientation_of(real, generated, draw).turned
        seconds.append(time.perf_counter() - started)
        turn = TURNS[draw % len(TURNS)]
        check = orientation_of([turn.apply(image) for image in real], generated, draw)
        noticed += check.turned
        found += turn.then(check.found) == Orientation.AS_IS
    figures = {"draws": asked.draws, "false_alarms": alarms, "noticed": noticed, "found": found}
    figures["median_seconds"] = round(float(np.median(seconds)), 2)
    print(figures)
    if asked.json:
        write_results(asked.json, figures)


if __name__ == "__main__":
    main()
