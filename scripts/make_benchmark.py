#!/usr/bin/env python3
"""Make an ImageCLEF-shaped benchmark with known truth, from a folder of images or from procedural slices.

A simulated generator was trained on `used` + `hidden` images. `used` and `unused` ones are shown as real images, `hidden` ones
never are.

Writes, into an empty OUT
    generated/generated_00001.png ...    256x256, 8 bit; kinds in random order
    real/real_unknown_0001.png ...       used and unused real images, shuffled
    truth_generated.csv                  generated,kind,strength,sources   (real file names joined by '|', a hidden one as '-')
    truth_real.csv                       real,used,descendants,source,group

Kinds
    warp     one source: smooth elastic warp, small affine, window and gamma, blur, noise; strength 1 (faint) to 5 (heavy)
    blend    two sources laid over each other, 30 to 70%
    eigen    no source: a draw in the principal subspace of the training images, plus texture noise
    mirror   one source, flipped left to right
    crop     one source: a window of 70 to 95% of its side enlarged to the whole, or the whole shrunk to that and padded
    regions  two or three sources side by side with soft irregular borders, each on at least 20% of the area, largest part first
    texture  two sources: the low spatial frequencies (anatomy) of the first, the high ones of the second
    three    three sources laid over each other, each with at least 20% of the weight
The bundled network was trained on distortions like these. --kinds unseen stands for 25 that it was never trained on, such as
swirl, edges, mosaic or text; query/benchmarks/unseen.py lists them. A warp of strength 1 to 3 follows in all but warp and eigen.

Images of one group (one patient, one series, near-duplicates) never fall on different sides. Groups come from --groups, or from a
file FOLDER_sources.csv beside the folder or *_sources.csv in it (columns file,group); without, each image is its own group.

With --siblings they do: the real images are pairs of one group, neighbours by name, one of each pair used, the other not. Then
the question is not who was used, but whether a source comes before its sibling. Groups of one image take no part; procedural
pairs are two slices of one patient.

Exit codes: 0 done, 2 bad input. The same arguments give the same files with the same library versions.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from embeddings.files.spreadsheet import unescaped
from embeddings.images.errors import NoImages
from query.benchmarks.benchmark import (
    DEFAULT_KINDS,
    BenchmarkError,
    BenchmarkSettings,
    Kind,
    Slice,
    folder_slices,
    write_benchmark,
)
from query.benchmarks.unseen import Unseen
from query.inputs.groups import GroupsError, groups_from_csv


class Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="make_benchmark.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write into; must be empty or new")
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument("--from", dest="folder", type=Path, metavar="DIR", help="take the images of this folder (first frames)")
    origin.add_argument("--procedural", action="store_true", help="draw the images (the default)")
    parser.add_argument("--generated", type=int, default=10_000, metavar="N")
    parser.add_argument("--used", type=int, default=100, metavar="N")
    parser.add_argument("--unused", type=int, default=100, metavar="N")
    parser.add_argument("--hidden", type=int, default=0, metavar="N", help="training images that are never shown")
    parser.add_argument("--copied", type=float, default=1.0, metavar="SHARE", help="share of the used images that is ever copied")
    kinds = f"comma-separated; all: the eight above, unseen: the others; default: {','.join(DEFAULT_KINDS)}, with --siblings warp"
    parser.add_argument("--kinds", help=kinds)
    parser.add_argument("--siblings", action="store_true", help="show pairs of one group of which one was used")
    parser.add_argument("--groups", type=Path, metavar="CSV", help="columns image,group: images by path in DIR or by name")
    parser.add_argument(
        "--exclude", type=Path, nargs="+", default=[], metavar="TRUTH", help="truth_real.csv of others to keep out"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    if options.groups and not options.folder:
        parser.error("--groups needs --from: procedural slices are each a group of their own")
    return options


def read_columns(path: Path, first: str, second: str) -> list[tuple[str, str]]:
    """Two columns of a CSV file, row by row."""
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as handle:
            rows = csv.DictReader(handle)
            missing = [c for c in (first, second) if c not in (rows.fieldnames or [])]
            if missing:
                raise BenchmarkError(f"{path}: no column '{missing[0]}'; needed are {first},{second}")
            return [(unescaped(row[first] or ""), unescaped(row[second] or "")) for row in rows]
    except csv.Error as error:
        raise BenchmarkError(f"{path}: not a CSV file ({error})") from error


def groups_of(folder: Path, table: Path | None) -> dict[str, str]:
    """Image -> group, from the table given or the ones that lie with the folder."""
    if table:
        return groups_from_csv(table)
    folder = folder.resolve()
    found = [*folder.parent.glob(f"{folder.name}_sources.csv"), *sorted(folder.glob("*_sources.csv"))]
    return {image: group for path in found for image, group in read_columns(path, "file", "group") if group}


def choose(options: argparse.Namespace) -> list[Slice] | None:
    """The images that can take part, None for procedural ones."""
    if not options.folder:
        return None
    groups = groups_of(options.folder, options.groups)
    slices = folder_slices(options.folder, groups)
    if options.groups and not any(s.name in groups or Path(s.name).name in groups for s in slices):
        raise BenchmarkError(f"{options.groups}: names none of the images in {options.folder}")
    return slices


def kinds_of(text: str | None) -> list[str]:
    """The kinds asked for, none for the default; a word may stand for several."""
    words: dict[str, list[str]] = {"all": list(Kind), "unseen": list(Unseen)}
    return [kind for word in text.split(",") for kind in words.get(word, [word])] if text is not None else []


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    try:
        excluded = {name for path in options.exclude for row in read_columns(path, "source", "group") for name in row if name}
        settings = BenchmarkSettings(
            options.generated,
            options.used,
            options.unused,
            options.hidden,
            options.copied,
            kinds_of(options.kinds),
            options.siblings,
            excluded,
            options.seed,
        )
        write_benchmark(
            options.out,
            settings,
            slices=choose(options),
            progress=lambda done, total: print(f"\r{done} of {total} generated", end="", file=sys.stderr, flush=True),
        )
    except (BenchmarkError, GroupsError, NoImages, OSError) as error:
        print(f"make_benchmark.py: {error}", file=sys.stderr)
        return 2
    shown = f"{options.used} used and {options.unused} unused shown, {options.hidden} hidden"
    print(f"\r{options.generated} generated; {shown}; in {options.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
