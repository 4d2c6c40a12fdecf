"""The combined view: every view's distances, standardised over both sides, as one distance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COMBINED = "combined"
# Chosen on benchmarks from seeds 101 to 105: with it the combination is nowhere below the best view (docs/METHODS.md).
WEIGHTS: Mapping[str, float] = {"resnet": 2.0, "sift": 2.0}  # other views: 1


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of the distances of each of n images to the other side: (n,) float64 each."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64]) -> "Moments":
        """Those of these images, in this order."""
        return Moments(self.mean[rows], self.std[rows])


def weights_of(views: Iterable[str]) -> dict[str, float]:
    """View -> how much it counts in the combination."""
    return {view: WEIGHTS.get(view, 1.0) for view in views}


def standardised(
    distances: NDArray[np.float32],
    real: Moments,
    generated: Moments,
    real_blank: NDArray[np.bool_],
    generated_blank: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(r, g) distances as the mean of two standard scores: over the real image's candidates and over the generated image's.

    The second takes away what an image that is near to everything has ahead of others (hubs; compare CSLS, Conneau et al., ICLR
    2018). Where nothing varies, or one image is blank in this view, the score is 0: no evidence either way.
    """
    by_real = standard_scores(distances, real.mean[:, None], real.std[:, None])
    by_generated = standard_scores(distances, generated.mean[None], generated.std[None])
    scores = (by_real + by_generated) / 2
    scores[real_blank] = 0
    scores[:, generated_blank] = 0
    return scores


def standardised_pairs(
    distances: NDArray[np.float32], real: Moments, generated: Moments, blank: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The same of n single pairs: distances, moments and flags of either image being blank are (n,) each."""
    scores = standard_scores(distances, real.mean, real.std) + standard_scores(distances, generated.mean, generated.std)
    return np.where(blank, 0, scores / 2)


def standard_scores(distances: NDArray[np.float32], mean: NDArray[np.float64], std: NDArray[np.float64]) -> NDArray[np.float64]:
    """(distances - mean) / std, 0 where nothing varies."""
    known = std > 1e-9
    return np.asarray(np.where(known, (distances - mean) / np.where(known, std, 1), 0))


def combined(total: NDArray[np.float64], weights: Mapping[str, float]) -> NDArray[np.float32]:
    """The combined distances, from the weighted sum of the views' signed squares: their root mean square, signs kept.

    Squares, because a view in which the pair stands out far must not be outvoted by views that see nothing: the logarithm of a
    normal density falls with the square, so the sum is that of log likelihoods of independent views.
    """
    return _signed_root(total / sum(weights.values())).astype(np.float32)


def signed_square(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squares with the signs of the scores."""
    return scores * np.abs(scores)


def _signed_root(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sign(squares) * np.sqrt(np.abs(squares)))


def combined_of_query(views: Sequence[tuple[str, NDArray[np.float32]]]) -> NDArray[np.float64]:
    """The combination where only one side is there to standardise over: (nq, n) distances by view -> (nq, n)."""
    total, weights = np.zeros(views[0][1].shape), weights_of(name for name, _ in views)
    for name, d in views:
        if name not in weights:
            continue
        exactly = d.astype(np.float64)
        scores = standard_scores(d, exactly.mean(axis=1, keepdims=True), exactly.std(axis=1, keepdims=True))
        total += weights[name] * signed_square(scores)
    return _signed_root(total / sum(weights.values()))
