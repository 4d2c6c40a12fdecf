"""Logarithms of distances, so that ratios become differences; a distance of 0 counts as `EPSILON`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Metric

# What a distance of 0 counts as: half a bit; of cosine distances ten times their rounding error.
EPSILON = {Metric.HAMMING: 0.5, Metric.COSINE: 1e-6}


def logs(distances: NDArray[Any], metric: Metric) -> NDArray[np.float64]:
    """Logarithms of distances, 0 as `EPSILON`."""
    return np.log(np.maximum(distances.astype(np.float64), EPSILON[metric]))
