"""The bulk of distances: what is left without those that stand out as near; its mean and standard deviation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NEAR = 2.5  # standard deviations below the median from which a distance stands out
_QUARTILE = 0.6745  # standard deviations from the median of a normal distribution to its quartile
_MEAN = 1.2533  # standard deviations in its mean absolute deviation


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of the bulk of the distances of each of n images to the other side: (n,) float64 each."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64]) -> "Moments":
        """Those of these images, in this order."""
        return Moments(self.mean[rows], self.std[rows])


@dataclass(frozen=True)
class Scale:
    """What distances of one view are standardised by.

    Attributes:
        real: of each real image's distances to the generated ones.
        generated: of each generated image's distances to the real ones.
    """

    real: Moments
    generated: Moments

    def of_rows(self, first: int, count: int) -> "Scale":
        """The same where only these consecutive generated images are there."""
        return Scale(self.real, self.generated.take(np.arange(first, first + count)))


def bulk_from(distances: NDArray[np.float32]) -> NDArray[np.float64]:
    """(m, n) distances of m images to the n of the other side -> (m,): from which distance on they are the bulk.

    That is 2.5 standard deviations below the median. Of a generated image, its source stands out, and so do all duplicates of the
    source, as long as they are fewer than half of the real images. The standard deviation is told from the farther half alone, by
    median and upper quartile, where no source lies; if these are equal, by the mean absolute deviation. Each row is judged by
    itself: further generated images change nothing.
    """
    ordered = np.sort(distances, axis=1)
    last = ordered.shape[1] - 1
    middle, upper = ordered[:, last // 2].astype(np.float64), ordered[:, -(-3 * last // 4)].astype(np.float64)
    spread = (upper - middle) / _QUARTILE
    flat = np.flatnonzero(spread == 0)
    spread[flat] = _MEAN * np.abs(ordered[flat] - middle[flat, None]).mean(axis=1)
    return np.asarray(middle - _NEAR * spread)


def bulk_moments(distances: NDArray[np.float32]) -> Moments:
    """`Moments` of the rows of (m, n) distances."""
    within = distances >= bulk_from(distances)[:, None]
    own = distances.astype(np.float64)
    return Moments(np.asarray(own.mean(axis=1, where=within)), np.asarray(own.std(axis=1, where=within)))


def bulk_moments_by_patient(distances: NDArray[np.float32], patients: NDArray[np.int64]) -> Moments:
    """`Moments` of the rows of (m, n) distances to images of these (n,) patients, each patient counting alike; NaN is left out.

    If each image counted alike, an image near to a patient of ten would seem less near than one near to a patient of one.
    """
    number, sizes = np.unique(patients, return_inverse=True, return_counts=True)[1:]
    known = np.isfinite(distances)
    own, weights = np.where(known, distances, 0).astype(np.float64), known / sizes[number]
    middle, upper = _weighted_quantiles(own, weights, (0.5, 0.75))
    spread = (upper - middle) / _QUARTILE
    flat = np.flatnonzero(spread[:, 0] == 0)
    spread[flat, 0] = _MEAN * np.average(np.abs(own[flat] - middle[flat]), axis=1, weights=weights[flat])
    weights *= own >= middle - _NEAR * spread
    total = weights.sum(axis=1)
    mean = (weights * own).sum(axis=1) / total
    return Moments(mean, np.sqrt((weights * (own - mean[:, None]) ** 2).sum(axis=1) / total))


def _weighted_quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64], shares: tuple[float, ...]
) -> list[NDArray[np.float64]]:
    """(m, 1) for each share: the smallest value of each row up to which at least so much of the weight lies."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, 1)
    up_to = np.cumsum(np.take_along_axis(weights, order, 1), axis=1)
    at = [(up_to < share * up_to[:, -1:] - 1e-9).sum(axis=1, keepdims=True) for share in shares]
    return [np.take_along_axis(ordered, place, 1) for place in at]
