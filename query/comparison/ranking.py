"""Ranking of the real images that a generated one was matched with: the likeliest source first, then who explains the rest."""

import numpy as np
from numpy.typing import NDArray

from query.comparison.explainer import FLOOR
from query.comparison.pursuit import Pursuit

_INLIERS = 4.0  # standard deviations that a pair gains as its inliers grow e-fold; chosen on benchmarks from seeds 101 to 103
_SHARES = 8.0  # as the share that it explains of the image beyond those before it grows e-fold; on seeds 101 to 104
_SHARE = 0.01  # share that any image explains: below it, it tells nothing
_PLACES = 8  # filled one after the other; the rest are ranked by what they explain beyond these


def ranked_distances(combined: NDArray[np.float32], inliers: NDArray[np.float64], pursuit: Pursuit) -> NDArray[np.float32]:
    """The combined distance less what inliers and tiles add to what views say: `4 log(inliers / 10)` and `8 log(share / 0.01)`.

    The first image is the one with the smallest distance by views and inliers alone: tiles do not see flipped or turned copies.
    The share is what an image explains beyond those ranked before it. So a second source comes before other slices of the first
    one's patient, which explain nothing that the first one does not.

    Args:
        combined, inliers: (n,) of each real image.
        pursuit: of the same; is used up.

    Returns:
        (n,), different ones for the first eight: none is below that of an image ranked before it.
    """
    alike = combined - _INLIERS * np.log(np.maximum(inliers, FLOOR) / FLOOR)
    ranked, waiting, least = np.zeros(len(alike), np.float32), np.ones(len(alike), bool), np.float32(-np.inf)
    for place in range(len(alike)):
        distances = (alike - _SHARES * np.log(np.maximum(pursuit.shares, _SHARE) / _SHARE)).astype(np.float32)
        ranked[waiting] = np.maximum(distances[waiting], least)
        if place == _PLACES:
            break
        best = int(np.where(waiting, distances if place else alike, np.inf).argmin())
        waiting[best], least = False, np.nextafter(ranked[best], np.float32(np.inf))
        pursuit.take_other(best)
    return ranked
