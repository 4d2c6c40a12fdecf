"""The combined view: every view's distances, standardised over the bulk of both sides, as one distance."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from query.comparison.bulk import Moments, Scale, bulk_moments

COMBINED = "combined"
COMBINED_LOOKUP = "combined-lookup"  # of a look-up: standardised over its own candidates alone, so on another scale
# Chosen on benchmarks from seeds 101 to 105: with it the combination is nowhere below the best view (docs/METHODS.md).
WEIGHTS: Mapping[str, float] = {"resnet": 2.0, "sift": 2.0}  # other views: 1
SAME = (
    1e-4  # distance up to which a view takes two images for the same: 0 bits; a cosine distance that rounding cannot move across
)
IDENTICAL = -30.0  # of a pair that is the same to all views that see both images
_LEAST = -25.0  # of other pairs, but for those that are the same to some view, which lie between


@dataclass(frozen=True)
class Evidence:
    """What one view says of pairs, in arrays of one shape.

    Attributes:
        scores: standard scores, float64; 0 where an image is blank.
        same: bool, at distance 0 (`SAME`), neither image blank.
        blank: bool, one image is blank in this view.
    """

    scores: NDArray[np.float64]
    same: NDArray[np.bool_]
    blank: NDArray[np.bool_]


def weights_of(views: Iterable[str]) -> dict[str, float]:
    """View -> how much it counts in the combination."""
    return {view: WEIGHTS.get(view, 1.0) for view in views}


def standardised(
    distances: NDArray[np.float32], scale: Scale, real_blank: NDArray[np.bool_], generated_blank: NDArray[np.bool_]
) -> Evidence:
    """(r, g) distances as the mean of two standard scores: over the real image's candidates and over the generated image's.

    The second takes away what an image that is near to everything has ahead of others (hubs; compare CSLS, Conneau et al., ICLR
    2018). Where nothing varies, or one image is blank in this view, the score is 0: no evidence either way.
    """
    (real_slope, real_start), (slope, start) = _line(scale.real), _line(scale.generated)
    scores = distances * (real_slope[:, None] + slope) - (real_start[:, None] + start)
    return _evidence(distances, scores / 2, real_blank[:, None] | generated_blank)


def standardised_pairs(distances: NDArray[np.float32], scale: Scale, blank: NDArray[np.bool_]) -> Evidence:
    """The same of n single pairs: distances, moments and flags of either image being blank are (n,) each."""
    (real_slope, real_start), (slope, start) = _line(scale.real), _line(scale.generated)
    return _evidence(distances, (distances * (real_slope + slope) - (real_start + start)) / 2, blank)


def standardised_query(distances: NDArray[np.float32], blank: NDArray[np.bool_]) -> Evidence:
    """(nq, n) distances where only one side is there to standardise over: the candidates of each looked-up image."""
    slope, start = _line(bulk_moments(distances))
    return _evidence(distances, distances * slope[:, None] - start[:, None], blank)


def _line(over: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope and start, (n,) each: distance * slope - start is (distance - mean) / std, and 0 where nothing varies."""
    known = over.std > 1e-9
    slope = np.where(known, 1 / np.where(known, over.std, 1), 0)
    return slope, over.mean * slope


def _evidence(distances: NDArray[np.float32], scores: NDArray[np.float64], blank: NDArray[np.bool_]) -> Evidence:
    if blank.any():
        scores[blank] = 0
    return Evidence(scores, (distances <= SAME) & ~blank, blank)


def combined(views: Mapping[str, Evidence]) -> NDArray[np.float32]:
    """The combined distances: root mean square of the views' scores, weighted, signs kept, and what is identical before all else.

    Squares, because a view in which the pair stands out far must not be outvoted by views that see nothing: the logarithm of a
    normal density falls with the square, so the sum is that of log likelihoods of independent views.

    A pair at distance 0 in all views that see it is at `IDENTICAL`, whatever else was generated. One at 0 in some of them lies
    between that and -25, by its score. No other pair lies below -25. So whatever the moments are, a copy is not hidden.
    """
    weights = weights_of(views)
    shape = next(iter(views.values())).scores.shape
    total, some, every = np.zeros(shape), np.zeros(shape, bool), np.ones(shape, bool)
    for name, weight in weights.items():
        view = views[name]
        total += weight * view.scores * np.abs(view.scores)
        some |= view.same
        every &= view.same | view.blank
    mean = total / sum(weights.values())
    found = np.maximum(np.sign(mean) * np.sqrt(np.abs(mean)), _LEAST)
    found[some] = _LEAST + np.minimum(found[some], 0) * (IDENTICAL - _LEAST) / _LEAST
    found[some & every] = IDENTICAL
    return np.asarray(found, np.float32)
