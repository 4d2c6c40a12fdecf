#!/usr/bin/env python3
"""Measure how often the interval of an AUROC holds the true one, where patients have one image or many, equally or not.

    bench/auroc_interval.py [--replicates 1000] [--seed 0] [--json FILE]

Scores of used and unused images are normal, `AREAS` apart; what images of one patient have in common is a share of the variance,
one of `ALIKE`. `LAWS` are the numbers of patients and of their images on either side. Every image is of a patient of one side.

Prints, for each law and share, how many of the intervals of 95% hold the true AUROC, and their mean width. Exit codes: 0 done, 2
bad input.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from result_file import write_results
from scipy.special import ndtri

from query.evaluation.ranking import auroc_interval

AREAS = (0.5, 0.7, 0.87, 0.97, 0.998)
ALIKE = (0.0, 0.3, 0.7, 0.95)

Sizes = NDArray[np.int64]  # images of each patient
Law = Callable[[np.random.Generator], tuple[Sizes, Sizes]]  # used and unused


def _fixed(used: tuple[int, int], unused: tuple[int, int]) -> Law:
    """So many patients with so many images on either side."""
    return lambda rng: (np.full(*used), np.full(*unused))


def _unequal(patients: int) -> Law:
    """1 to 30 images of each patient, as many patients on both sides."""
    return lambda rng: (rng.integers(1, 31, patients), rng.integers(1, 31, patients))


LAWS: Mapping[str, Law] = {
    "100 x 1, 100 x 1": _fixed((100, 1), (100, 1)),
    "10 x 10, 100 x 1": _fixed((10, 10), (100, 1)),
    "8 x 10, 8 x 10": _fixed((8, 10), (8, 10)),
    "5 x 20, 60 x 1": _fixed((5, 20), (60, 1)),
    "8 x 10, 80 x 1": _fixed((8, 10), (80, 1)),
    "1 x 40 + 15 x 4, the same": lambda rng: (np.array([40] + 15 * [4]), np.array([40] + 15 * [4])),
    "6 x 1-30, 6 x 1-30": _unequal(6),
    "12 x 1-30, 12 x 1-30": _unequal(12),
    "40 x 1-30, 40 x 1-30": _unequal(40),
}


def drawn(
    sizes: tuple[Sizes, Sizes], area: float, alike: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Scores, labels and patients of one sample."""
    used = np.repeat([True, False], [sizes[0].sum(), sizes[1].sum()])
    patient = np.repeat(np.arange(len(sizes[0]) + len(sizes[1])), np.concatenate(sizes))
    shared, own = rng.normal(size=patient[-1] + 1)[patient], rng.normal(size=len(patient))
    return np.sqrt(2) * ndtri(area) * used + np.sqrt(alike) * shared + np.sqrt(1 - alike) * own, used, patient


def measured(law: Law, area: float, alike: float, replicates: int, seed: int) -> dict[str, float]:
    """Share of intervals that hold the true AUROC, their mean width, and the share of samples with a wrong end, low or high."""
    rng = np.random.default_rng(seed)
    found = [auroc_interval(*drawn(law(rng), area, alike, rng)) for _ in range(replicates)]
    low, high = np.array([each.low for each in found]), np.array([each.high for each in found])
    return {
        "covered": float(np.mean((low <= area) & (area <= high))),
        "width": float(np.mean(high - low)),
        "too_high": float(np.mean(low > area)),
        "too_low": float(np.mean(high < area)),
    }


def told(figures: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Share covered and mean width, a line for each law and share."""
    lines = [f"| used, unused | alike | {' | '.join(map(str, AREAS))} |", f"|---|---|{'---|' * len(AREAS)}"]
    for law, by_share in figures.items():
        for share, by_area in by_share.items():
            cells = [f"{each['covered']:.3f}, {each['width']:.2f}" for each in by_area.values()]
            lines.append(f"| {law} | {share} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000, metavar="N", help="samples of each law, share and AUROC")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    given = parser.parse_args(argv)
    if given.replicates < 1:
        parser.error("--replicates must be at least 1")
    figures = {
        name: {
            str(alike): {str(area): measured(law, area, alike, given.replicates, given.seed) for area in AREAS} for alike in ALIKE
        }
        for name, law in LAWS.items()
    }
    print(told(figures))
    if given.json:
        write_results(given.json, figures, list(argv) if argv is not None else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
