"""Evidence of leakage: do generated images come nearer to training patients than to hold-out patients, tested by patient.

The figures of `query.leakage.leakage` compare equal sets, which are small where one side has few patients. This test uses all
images: each real image gets one value, told alike on both sides whatever its patient has, and patients are compared.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from query.leakage.draws import Part, RealGroups, Rows, beside_others
from query.membership.set_test import SetTest, set_test

ALPHA = 0.05  # at most this p-value is evidence
DRAWS = 10  # of one image of each patient
_PAIRS = 4_000_000  # at a time

Matrix = NDArray[np.float32]
Vector = NDArray[np.float64]


def evidence(training: Matrix, hold_out: Matrix, parts: Sequence[Part], groups: RealGroups, seed: int = 0) -> SetTest:
    """Test whether training patients lie nearer to the generated images than hold-out patients.

    In each part an image is compared with images of that part alone; the patients of all parts are tested together. The level
    holds where the patients of both sides are exchangeable, whatever their numbers of images.

    Args:
        training, hold_out: (ng, nt) and (ng, nh) combined distances.
        parts: rows that count; every real image is in at most one.
        groups: of all real images.
        seed: of draws and permutations.
    """
    rng = np.random.default_rng(seed)
    split, numbers = len(groups.training), groups.both
    values = np.full(len(numbers), np.nan)
    for part in parts:
        rows = np.concatenate([part.training, split + part.hold_out])
        columns = training[:, part.training], hold_out[:, part.hold_out]
        values[rows] = nearness(np.hstack(columns)[part.generated], numbers[rows], rng)
    return set_test(values, numbers, np.arange(split), np.arange(split, len(numbers)), seed)


def nearness(distances: Matrix, groups: Rows, rng: np.random.Generator) -> Vector:
    """By how much a generated image lies nearer to a real image than to those of other patients, at most: (n,), larger is nearer.

    The distance to the nearest rival minus the distance to the image, of the generated image for which that is greatest. An
    image's own patient is never its rival, and each other patient sends one random image, `DRAWS` times: so images of patients
    with one slice and with ten are told alike. Differences and no ratios, because combined distances may be negative.

    Args:
        distances: (ng, n) of generated images to the real images of both sides.
        groups: (n,) patients.
        rng: of the images that are sent.

    Returns:
        NaN without generated images or with fewer than two patients.
    """
    names, number = np.unique(groups, return_inverse=True)
    values = np.full(len(groups), np.nan if len(names) < 2 or not len(distances) else -np.inf)
    if np.isnan(values).all():
        return values
    sent = [_one_of_each(number, rng) for _ in range(1 if len(names) == len(groups) else DRAWS)]
    step = max(1, _PAIRS // len(groups))
    for start in range(0, len(distances), step):
        own = distances[start : start + step].astype(np.float64)
        rival = np.mean([beside_others(own[:, rows], 1) for rows in sent], axis=0)
        values = np.maximum(values, (rival[:, number] - own).max(axis=0))
    return values


def _one_of_each(number: Rows, rng: np.random.Generator) -> Rows:
    """A random row of each patient, in the order of numbers."""
    order = rng.permutation(len(number))
    return np.asarray(order[np.unique(number[order], return_index=True)[1]])
