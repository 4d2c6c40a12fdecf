"""Evidence for each subset of the real images that a generated image comes from it: patients and their images count alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from query.comparison.combined import COMBINED
from query.comparison.reductions.tile import Tile
from query.comparison.reductions.weights import Weights

# How much a pair's scores weigh, and how sharply: chosen on benchmarks from seed 101 (docs/METHODS.md).
ATTRIBUTION = 10.0  # of a real image that explains the generated one alone, beside a combined distance of -1
MATCH = 2.0  # as the match value grows e-fold
SHARPNESS = (0.0, *(float(2 ** (step / 2)) for step in range(-8, 1)))  # 0, then 1/16 to 1: more would name images from elsewhere
USUAL = len(SHARPNESS) - 1
_LEAST = -1e30  # log of nothing

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Members:
    """Which real images make up each subset.

    Attributes:
        subset: (nr,) int64 number of each image's subset, -1 for none.
        patient: (nr,) int64 number of each image's group.
        count: of subsets.
    """

    subset: NDArray[np.int64]
    patient: NDArray[np.int64]
    count: int

    @property
    def patients(self) -> NDArray[np.int64]:
        """(count,) patients of each subset."""
        return np.array([len(np.unique(self.patient[self.subset == number])) for number in range(self.count)], np.int64)

    @cached_property
    def shares(self) -> Values:
        """(count, nr) part of each image in its subset: patients count alike, and images of a patient; rows have 1 in all."""
        pairs = self.subset * (self.patient.max(initial=0) + 1) + self.patient
        _, own, images = np.unique(pairs, return_inverse=True, return_counts=True)
        within = np.flatnonzero(self.subset >= 0)
        found = np.zeros((self.count, len(self.subset)))
        found[self.subset[within], within] = 1 / (images[own] * self.patients[self.subset])[within]
        return found


@dataclass(frozen=True)
class Evidence:
    """What is known of n generated images.

    Attributes:
        logs: (n, subsets, sharpnesses) float32: log of the mean of `exp(sharpness * score)` over a subset's patients.
        without: (n, subsets) float32, at the usual sharpness, where the best real image's patient is left out.
        best: (n,) int64, the real image with the largest score.
    """

    logs: NDArray[np.float32]
    without: NDArray[np.float32]
    best: NDArray[np.int64]


class SubsetEvidence:
    """Reduction to `Evidence`, of all generated images in the order of their rows. It needs the combined view.

    The score of a pair is `-combined + 10 weight + 2 log(match value)`: how far the real image stands out as near, how much it
    takes part in explaining the generated one (`Weights`), and how many more points agree than usual.

    Args:
        members: of the subsets.
        weights: in one view; None where no view has vectors to explain.
        matched: generated row -> real rows, and what matching adds to their scores.
    """

    def __init__(
        self, members: Members, weights: Weights | None, matched: Mapping[int, tuple[NDArray[np.int64], Values]]
    ) -> None:
        self._members, self._weights, self._matched = members, weights, matched
        self._parts: dict[int, Evidence] = {}

    def update(self, tile: Tile) -> None:
        """See `Reduction`."""
        scores = -tile.view(COMBINED).distances.astype(np.float64)
        if self._weights is not None:
            parts = self._weights.of(tile)
            np.add.at(scores, (parts.slot % len(scores), parts.image), ATTRIBUTION * parts.weight)
        for column in range(len(tile)):
            rows, more = self._matched.get(tile.first + column, (None, None))
            if rows is not None:
                scores[rows, column] += more
        self._parts[tile.first] = evidence_of(scores, self._members)

    def merge(self, other: Self) -> None:
        """See `Reduction`."""
        self._parts |= other._parts

    def result(self) -> Evidence:
        """Of all."""
        parts = [self._parts[first] for first in sorted(self._parts)]
        return Evidence(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("logs", "without", "best")))


def evidence_of(scores: Values, members: Members) -> Evidence:
    """From (nr, g) scores of the pairs; real images without a subset take no part."""
    scores = np.where(members.subset[:, None] >= 0, scores, -np.inf)
    best = scores.argmax(axis=0)
    logs = np.stack([log_means(scores, members, sharpness) for sharpness in SHARPNESS], axis=-1)
    rest = np.where(members.patient[:, None] == members.patient[best], -np.inf, scores)
    return Evidence(logs.astype(np.float32), log_means(rest, members, SHARPNESS[USUAL]).astype(np.float32), best)


def log_means(scores: Values, members: Members, sharpness: float) -> Values:
    """(g, subsets) log of the mean of `exp(sharpness * score)`, over the patients of each subset and the images of each.

    With one patient as likely as another to be the source, that is the likelihood of the subset: where all scores are alike, so
    are the subsets, whatever their sizes. Scores of -inf are left out; what is left of a subset shares its weight.

    Args:
        scores: (nr, g).
        members: of the subsets.
        sharpness: 0 or above.
    """
    there = np.isfinite(scores)
    powers = np.where(there, sharpness * np.where(there, scores, 0), -np.inf)
    largest = powers.max(axis=0, initial=_LEAST)
    total, left = members.shares @ np.exp(powers - largest), members.shares @ there
    found = np.divide(total, left, out=np.zeros_like(total), where=left > 0)
    return np.asarray((np.log(np.maximum(found, np.exp(-700))) + largest).T)
