#!/usr/bin/env python3
"""Measure how often intervals of shares and means by patient hold the true value, where patients are few or have many images.

    bench/group_interval.py [--shares 1000] [--means 200] [--seed 0] [--json FILE]

shares  `grouped_proportion`: a patient's own share is drawn from a beta distribution; what images of one patient have in common
        is a share of the variance, one of `ALIKE`.
means   `grouped_interval` of a mean: half of the variance is the patient's; normal, and skewed (squares of normal numbers).

`SIZES` are the images of each patient. Prints how many of the intervals of 95% hold the true value, and their mean width. Exit
codes: 0 done, 2 bad input.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from result_file import write_results

from query.evaluation.resampling import Estimate, grouped_interval, grouped_proportion

SHARES = (0.5, 0.8, 0.95)
ALIKE = (0.01, 0.3, 0.7, 0.95)

Sizes = NDArray[np.int64]
SIZES: Mapping[str, Callable[[np.random.Generator], Sizes]] = {
    "5 x 10": lambda rng: np.full(5, 10),
    "10 x 10": lambda rng: np.full(10, 10),
    "20 x 10": lambda rng: np.full(20, 10),
    "12 x 1-30": lambda rng: rng.integers(1, 31, 12),
    "1 x 40 + 15 x 4": lambda rng: np.array([40] + 15 * [4]),
    "60 x 1": lambda rng: np.ones(60, np.int64),
}


def of_share(share: float, alike: float, sizes: Sizes, rng: np.random.Generator) -> Estimate:
    """The interval of a share in one sample."""
    own = rng.beta(share * (1 - alike) / alike, (1 - share) * (1 - alike) / alike, len(sizes))
    patient = np.repeat(np.arange(len(sizes)), sizes)
    return grouped_proportion(rng.random(len(patient)) < own[patient], patient)


def of_mean(skewed: bool, sizes: Sizes, rng: np.random.Generator) -> Estimate:
    """The interval of a mean that is 0, in one sample."""
    patient = np.repeat(np.arange(len(sizes)), sizes)
    shared, own = rng.normal(size=len(sizes)), rng.normal(size=len(patient))
    values = (shared**2 - 1)[patient] + own**2 - 1 if skewed else shared[patient] + own
    return grouped_interval(partial(_mean, values), patient, draws=1000, seed=int(rng.integers(1 << 31)))


def _mean(values: NDArray[np.float64], rows: NDArray[np.int64]) -> float:
    return float(values[rows].mean())


def held(found: Sequence[Estimate], true: float) -> dict[str, float]:
    """Share of intervals that hold the true value, and their mean width."""
    low, high = np.array([each.low for each in found]), np.array([each.high for each in found])
    return {"covered": float(np.mean((low <= true) & (true <= high))), "width": float(np.mean(high - low))}


def measured(shares: int, means: int, seed: int) -> dict[str, dict[str, Any]]:
    """Sizes -> what was estimated -> coverage and width."""
    figures: dict[str, dict[str, Any]] = {}
    for name, law in SIZES.items():
        rng = np.random.default_rng(seed)
        cells = figures[name] = {}
        for share in SHARES:
            for alike in ALIKE:
                found = [of_share(share, alike, law(rng), rng) for _ in range(shares)]
                cells[f"share {share}, alike {alike}"] = held(found, share)
        for skewed in (False, True):
            found = [of_mean(skewed, law(rng), rng) for _ in range(means)]
            cells["mean, skewed" if skewed else "mean, normal"] = held(found, 0.0)
    return figures


def told(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each estimate, a column for each law of sizes."""
    lines = [f"| | {' | '.join(figures)} |", f"|---|{'---|' * len(figures)}"]
    for what in next(iter(figures.values())):
        cells = [f"{each[what]['covered']:.3f}, {each[what]['width']:.2f}" for each in figures.values()]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", type=int, default=1000, metavar="N", help="samples of each share")
    parser.add_argument("--means", type=int, default=200, metavar="N", help="samples of each mean")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    given = parser.parse_args(argv)
    if min(given.shares, given.means) < 1:
        parser.error("--shares and --means must be at least 1")
    figures = measured(given.shares, given.means, given.seed)
    print(told(figures))
    if given.json:
        write_results(given.json, figures, list(argv) if argv is not None else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
