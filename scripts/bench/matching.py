#!/usr/bin/env python3
"""Measure how many images that are no copies geometric matching puts above its threshold, where patients have several images.

    bench/matching.py IMAGES GROUPS.csv [--draws 3] [--patients 60] [--seed 0] [--json FILE]

In each draw, some patients' images are the real ones, and images of other patients take the place of generated ones: they are no
copies, and as like the real ones as a further patient's images are. Laws of images per patient among the real ones:

  even     as many of each patient (at most 4)
  uneven   one of most, up to 12 of every third

Prints for each draw, with groups given and without: threshold, level that is promised, share of images above it, share with a
p-value of at most .05, and images called copies at a false discovery rate of 10% (each of them is false).
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from result_file import write_results

from embeddings.files.temporary import temporary_folder
from embeddings.images.find import find
from indexer.build.build import Settings, build
from query.comparison.comparison import compare
from query.comparison.match_reference import Reference
from query.comparison.matching import Budget, MatchSettings, match
from query.inputs.groups import group, groups_from_csv, groups_from_table
from query.inputs.sides import sides_of
from query.membership.calibration import q_values

SETTINGS = Settings(views={"phash": {}, "pixels": {}, "sift": {"words": 16}}, sample_size=400)
NULL = 2  # images of each further patient
FDR = 0.1


def drawn(table: Mapping[str, str], law: str, patients: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Names of real images, and of those that take the place of generated ones."""
    by_group: dict[str, list[str]] = defaultdict(list)
    for image, of in sorted(table.items()):
        by_group[of].append(image)
    order = rng.permutation(sorted(by_group, key=lambda of: (-len(by_group[of]), of))[: 2 * patients])

    def some(of: str, count: int) -> list[str]:
        return [str(image) for image in rng.permutation(by_group[of])[:count]]

    sizes = [4 if law == "even" else (12 if place % 3 == 0 else 1) for place in range(patients)]
    real = [image for of, size in zip(order[:patients], sizes, strict=True) for image in some(of, size)]
    return real, [image for of in order[patients:] for image in some(of, NULL)]


def figures(reference: Reference, values: np.ndarray) -> dict[str, Any]:
    """What is said of images that are no copies."""
    p = reference.p_values(values)
    return {
        "controls": len(reference.values),
        "groups": reference.group_count,
        "threshold": reference.threshold,
        "level": reference.level,
        "above": float(np.mean(values > reference.threshold)),
        "p <= .05": float(np.mean(p <= 0.05)) if reference.known else None,
        "called": int(np.sum(q_values(p) <= FDR)) if reference.known else None,
    }


def draw(images: Path, table: Mapping[str, str], law: str, patients: int, seed: int) -> dict[str, Any]:
    """One draw, with groups and without."""
    real, null = drawn(table, law, patients, np.random.default_rng(seed))
    with temporary_folder() as work:
        generated = build(work / "g", find(*(images / name for name in null)), settings=SETTINGS)
        reals = build(work / "r", find(*(images / name for name in real)), fitted_on=generated)
        comparison = compare(sides_of(reals, generated))
        names = comparison.sides.real.names
        of_real = {name: table[Path(name).name] for name in names}
        known = group(groups_from_table(of_real), comparison.sides.real)
        found = match(comparison, known, MatchSettings(Budget()))
        values = np.zeros(len(null))
        np.maximum.at(values, found.generated, found.values)
        unknown = match(comparison, group(None, comparison.sides.real), rows=np.array([0])).reference
    told = {"real": len(real), "null": len(null)}
    return {**told, "groups given": figures(found.reference, values), "groups unknown": figures(unknown, values)}


def main() -> None:
    """All draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("groups", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--patients", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table = groups_from_csv(args.groups)
    laws: dict[str, list[dict[str, Any]]] = {}
    for law in ("even", "uneven"):
        for seed in range(args.seed, args.seed + args.draws):
            found = draw(args.images, table, law, args.patients, seed)
            laws.setdefault(law, []).append(found)
            print(law, seed, found, flush=True)
    if args.json:
        write_results(args.json, laws)


if __name__ == "__main__":
    main()
