"""Ridge regression of an image on other images, for unit vectors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Metric

SPAN = 20  # images that one is explained by
RIDGE = 0.3  # of those explanations; the vectors have unit length

Values = NDArray[np.float64]


def residual(queries: NDArray[np.float32], neighbours: NDArray[np.float32], ridge: float = RIDGE) -> Values:
    """Length of what remains of each query when its neighbours are fitted to it by least squares with a ridge.

    A generator that blends what it remembers leaves no single near copy, but images that together explain the remembered one. The
    fit is that of locally linear embedding (Roweis and Saul, Science 2000) without its sum constraint.

    Args:
        queries: (n, d) unit rows.
        neighbours: (n, k, d) unit rows.
        ridge: added to the diagonal of each Gram matrix; at least 0, and above where k > d.

    Returns:
        (n,) float64, between 0 and 1.
    """
    q, near = queries.astype(np.float64), neighbours.astype(np.float64)
    fitted = np.einsum("nk,nkd->nd", weights(q, near, ridge), near)
    return np.asarray(np.linalg.norm(q - fitted, axis=1))


def weights(queries: Values, neighbours: Values, ridge: float) -> Values:
    """(n, k) weights of the neighbours (n, k, d) in each query's fit."""
    gram = neighbours @ neighbours.transpose(0, 2, 1)
    products = np.einsum("nkd,nd->nk", neighbours, queries)
    return np.asarray(np.linalg.solve(gram + ridge * np.eye(neighbours.shape[1]), products[..., None])[..., 0])


def floats(vectors: NDArray[Any], metric: Metric) -> NDArray[np.float32]:
    """Unit rows: vectors of a cosine view as they are, the bits of a code as -1 and 1 over the root of their number."""
    if metric is Metric.COSINE:
        return np.asarray(vectors, np.float32)
    bits = np.unpackbits(np.asarray(vectors, np.uint8), axis=-1).astype(np.float32)
    return (2 * bits - 1) / np.float32(np.sqrt(bits.shape[-1]))
