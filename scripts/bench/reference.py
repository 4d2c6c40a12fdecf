#!/usr/bin/env python3
"""Measure what the check of the reference finds, how often it refuses sides of one kind, and what weights repair.

    bench/reference.py [--part level|power|shares|real ...] [--repeats 200] [--images DIR --groups CSV] [--json FILE]

level   patients of both sides have one law: the share of checks that refuse (promised: at most 0.05), with equally many and with
        different numbers of images a patient. Images of one patient correlate by 0.5 in each of 25 features.
power   the unlabelled patients differ in one of 25 features, by 0.5 to 4 standard deviations: the share of checks that refuse,
        for 100 patients on either side and for few reference patients.
shares  the same where the values behind p-values correlate by 0.7 with that feature, and nothing was used: shares of checks that
        refuse, of cases that weights repair, and of p-values at or below 0.05 without and with weights.
real    images of known patients, split at random: the share of checks that refuse; then with the unlabelled side changed: its
        grey levels windowed more narrowly, halved and enlarged again, saved as JPEG.

Exit codes: 0 done, 2 bad input.
"""

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from common.command import Parser
from numpy.typing import NDArray
from PIL import Image
from result_file import write_results

from embeddings.files.spreadsheet import read_rows
from embeddings.types import GreyImage
from query.inputs.images import Images
from query.membership.case import MembershipError
from query.membership.patients import Patients, count_patients
from query.membership.reference_check import Feature, Features, check_reference
from query.membership.reference_features import features_of
from query.membership.reference_verdict import ReferenceCheck
from query.membership.reference_weights import weights_of

PARTS = ("level", "power", "shares", "real")
FEATURES, ALIKE, CORRELATION = 25, 0.5, 0.7  # features; correlation within a patient; of values with the feature that differs
LEVEL = 0.05


@dataclass(frozen=True)
class Design:
    """Patients of both sides, images of each, and by how many standard deviations the first feature differs."""

    unlabelled: tuple[int, int]
    reference: tuple[int, int]
    shift: float = 0.0

    def __str__(self) -> str:
        return f"{self.unlabelled[0]} x {self.unlabelled[1]} against {self.reference[0]} x {self.reference[1]}, {self.shift:g} sd"


@dataclass(frozen=True)
class Drawn:
    """A case: features, patients, how many rows are unlabelled, and values of images of which none was used."""

    features: Features
    groups: NDArray[np.int64]
    unlabelled: int
    values: NDArray[np.float64]

    @property
    def sides(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of unlabelled and of reference images."""
        rows = np.arange(len(self.groups))
        return rows[: self.unlabelled], rows[self.unlabelled :]


LEVELS = (
    Design((100, 1), (100, 1)),
    Design((100, 1), (8, 10)),
    Design((100, 1), (20, 10)),
    Design((20, 10), (100, 1)),
    Design((30, 10), (30, 3)),
)
POWERS = (
    *(Design((100, 1), (100, 1), shift) for shift in (0.5, 1, 2, 4)),
    *(Design((100, 1), (patients, images), 2) for images in (10, 1) for patients in (5, 7, 12)),
)
SHARES = tuple(Design((100, 1), (patients, 1), shift) for patients in (100, 300) for shift in (0, 1, 2, 4))


def draw(design: Design, seed: int) -> Drawn:
    """Normal features of mean 0 and standard deviation 1 on the reference side."""
    rng = np.random.default_rng([seed, 1])  # not the numbers that the check draws
    sides = []
    for (patients, each), shift in ((design.unlabelled, design.shift), (design.reference, 0.0)):
        common, own = rng.normal(size=(patients, 1, FEATURES)), rng.normal(size=(patients, each, FEATURES))
        values = np.sqrt(ALIKE) * common + np.sqrt(1 - ALIKE) * own
        values[:, :, 0] += shift
        sides.append(values.reshape(-1, FEATURES))
    values = np.vstack(sides)
    numbers = np.arange(design.unlabelled[0] + design.reference[0])
    images = [design.unlabelled[1]] * design.unlabelled[0] + [design.reference[1]] * design.reference[0]
    near = CORRELATION * values[:, 0] + np.sqrt(1 - CORRELATION**2) * rng.normal(size=len(values))
    what = [Feature(f"feature {number}", "larger", "smaller") for number in range(FEATURES)]
    return Drawn(Features(what, values), np.repeat(numbers, images), len(sides[0]), near)


def checked(drawn: Drawn, seed: int) -> ReferenceCheck:
    return check_reference(drawn.features, drawn.groups, *drawn.sides, seed)


def refused(designs: Sequence[Design], repeats: int) -> dict[str, Any]:
    """Share of checks that refuse, with its standard error; how many reference patients the last check asks for."""
    found = {}
    for design in designs:
        checks = [checked(draw(design, seed), seed) for seed in range(repeats)]
        found[str(design)] = {**share([check.p_value <= LEVEL for check in checks]), "needed": checks[-1].needed}
        print(design, found[str(design)], file=sys.stderr)
    return found


def share(hits: Sequence[bool]) -> dict[str, float]:
    mean = float(np.mean(hits))
    return {"share": mean, "standard_error": float(np.sqrt(mean * (1 - mean) / len(hits))), "draws": len(hits)}


def small_p(drawn: Drawn, weights: NDArray[np.float64]) -> float:
    """Share of the unlabelled patients with a p-value of at most 0.05, none of whom was used."""
    p = count_patients(drawn.values, Patients.of(drawn.groups), *drawn.sides, weights, 0).p_values()
    return float((p[np.isfinite(p)] <= LEVEL).mean())


def shares(repeats: int) -> dict[str, Any]:
    found = {}
    for design in SHARES:
        ignored, weighted, effective, differs = [], [], [], []
        for seed in range(repeats):
            drawn = draw(design, seed)
            differs.append(checked(drawn, seed).p_value <= LEVEL)
            ignored.append(small_p(drawn, np.ones(len(drawn.groups))))
            try:
                weights = weights_of(drawn.features, drawn.groups, *drawn.sides, seed)
            except MembershipError:
                continue
            weighted.append(small_p(drawn, weights.of_row))
            effective.append(weights.effective)
        found[str(design)] = {
            "different": float(np.mean(differs)),
            "ignore": float(np.mean(ignored)),
            "repaired": len(weighted) / repeats,
            "weight": float(np.mean(weighted)) if weighted else None,
            "effective": float(np.mean(effective)) if effective else None,
            "draws": repeats,
        }
        print(design, found[str(design)], file=sys.stderr)
    return found


def windowed(image: GreyImage) -> GreyImage:
    """Contrast raised by a quarter around the middle grey."""
    return np.asarray(np.clip((image.astype(np.float32) - 128) * 1.25 + 128, 0, 255), np.uint8)


def blurred(image: GreyImage) -> GreyImage:
    """Shrunk to half its size and enlarged again."""
    picture = Image.fromarray(image)
    half = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BILINEAR)
    return np.asarray(half.resize(picture.size, Image.Resampling.BILINEAR), np.uint8)


def compressed(image: GreyImage) -> GreyImage:
    """Saved as JPEG of quality 75."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


CHANGES: dict[str, Callable[[GreyImage], GreyImage]] = {"window": windowed, "half size": blurred, "JPEG": compressed}


def real(given: argparse.Namespace) -> dict[str, Any]:
    """Splits of patients; files are read once as they are and once for each change."""
    with open(given.groups, newline="") as file:
        rows = list(read_rows(file))
    key = "image" if "image" in rows[0] else "file"
    paths, groups = [given.images / row[key] for row in rows], np.array([row["group"] for row in rows])

    def features(change: Callable[[GreyImage], GreyImage]) -> Features:
        def read(row: int) -> GreyImage:
            return change(np.asarray(Image.open(paths[row]).convert("L")))

        return features_of(Images([path.name for path in paths], {}, {}, {}, read))

    plain, names = features(np.asarray), np.unique(groups)
    found: dict[str, Any] = {"images": len(paths), "patients": len(names), "features": len(plain.what)}

    def split(other: Features, seed: int) -> ReferenceCheck:
        chosen = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
        side = np.isin(groups, chosen)
        values = np.where(side[:, None], other.values, plain.values)
        return check_reference(replace(plain, values=values), groups, np.flatnonzero(side), np.flatnonzero(~side), seed)

    checks = [split(plain, seed) for seed in range(given.splits)]
    found["as they are"] = share([check.p_value <= LEVEL for check in checks])
    print("as they are", found["as they are"], file=sys.stderr)
    for name, change in CHANGES.items():
        changed = features(change)
        checks = [split(changed, seed) for seed in range(max(1, given.splits // 5))]
        found[name] = {**share([check.p_value <= LEVEL for check in checks]), "words": checks[0].words}
        print(name, found[name], file=sys.stderr)
    return found


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="bench/reference.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="repeat it for several (default: all)")
    parser.add_argument(
        "--repeats",
        type=int,
        default=200,
        metavar="N",
        help="draws of each design; half in part power, a fifth in shares",
    )
    parser.add_argument("--splits", type=int, default=100, metavar="N", help="random splits of part real; of each change a fifth")
    parser.add_argument("--images", type=Path, metavar="DIR", help="of part real")
    parser.add_argument("--groups", type=Path, metavar="CSV", help="image,group of part real")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    given = parser.parse_args(argv)
    given.part = given.part or [part for part in PARTS if part != "real" or given.images]
    if "real" in given.part and not (given.images and given.groups):
        parser.error("part real needs --images DIR and --groups CSV")
    return given


def main(argv: Sequence[str] | None = None) -> int:
    given = arguments(argv)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "level": lambda: refused(LEVELS[:1], 5 * given.repeats) | refused(LEVELS[1:], max(1, given.repeats // 2)),
        "power": lambda: refused(POWERS, max(1, given.repeats // 2)),
        "shares": lambda: shares(max(1, given.repeats // 5)),
        "real": lambda: real(given),
    }
    figures = {part: parts[part]() for part in given.part}
    if given.json:
        write_results(given.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
