"""Points in place of images: training and hold-out patients, and generated sets of which some copy training points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from query.comparison.combined import COMBINED
from query.leakage.draws import RealGroups
from query.leakage.leakage import View, Within, combined_of


@dataclass(frozen=True)
class World:
    """Views `pixels` and combined of all sets, the rows of each set, and the patients."""

    views: dict[str, View]
    rows: dict[str, NDArray[np.int64]]
    groups: RealGroups


def world(seed: int, sizes: Sequence[int] = (60, 60), copies: Sequence[int] = (0, 0), patients: int = 20) -> World:
    """Sets A, B, ... of these sizes, so many points of each near to training points; two images of each patient."""
    rng = np.random.default_rng(seed)

    def side() -> NDArray[np.float64]:
        centres = np.repeat(rng.normal(size=(patients, 6)), 2, axis=0)
        return centres + 0.3 * rng.normal(size=centres.shape)

    training, hold_out = side(), side()
    made = rng.normal(size=(sum(sizes), 6))
    ends = np.cumsum(sizes)
    rows = {"ABCDEFGH"[i]: np.arange(end - size, end) for i, (size, end) in enumerate(zip(sizes, ends, strict=True))}
    for own, count in zip(rows.values(), copies, strict=True):
        made[own[:count]] = training[rng.integers(len(training), size=count)] + 0.05 * rng.normal(size=(count, 6))
    number = np.repeat(np.arange(patients), 2)
    groups = RealGroups(number, patients + number)
    between = [cdist(made, real).astype(np.float32) for real in (training, hold_out)]
    seen = [np.ones(len(points), bool) for points in (made, training, hold_out)]
    within = [
        cdist(one, other).astype(np.float32) for one, other in ((training, training), (hold_out, hold_out), (hold_out, training))
    ]
    cells = [np.zeros(len(points), np.int64) for points in (made, training, hold_out)]
    inside = Within(within[0], within[1], within[2], cells[0], cells[1], cells[2])
    pixels = View(between[0], between[1], seen[0], seen[1], seen[2], inside)
    blank = {"pixels": np.zeros(len(made), bool)}, {"pixels": np.zeros(len(groups.both), bool)}
    together = combined_of({"pixels": np.hstack(between)}, *blank, groups.both)
    split = len(training)
    return World(
        {"pixels": pixels, COMBINED: View(together[:, :split], together[:, split:], seen[0], seen[1], seen[2])}, rows, groups
    )
