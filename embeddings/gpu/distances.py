"""Distance matrices on a GPU."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.gpu.device import on, upload
from embeddings.types import Metric


def distances(metric: Metric, queries: NDArray[Any], vectors: NDArray[Any], device: str) -> NDArray[np.float32]:
    """All distances (nq, n) float32: of Hamming whole numbers and exact, of cosine within `brute_force.ROUNDING`.

    Args:
        metric: how they are compared.
        queries, vectors: (nq, width) and (n, width), see `Embeddings.vectors`.
        device: ``cpu``, ``cuda:N`` or ``cuda:all``.
    """
    with on(device) as where:
        one, other = upload(queries, where), upload(vectors, where)
        if metric is Metric.HAMMING:
            bits = 8 * queries.shape[1]
            return np.asarray(((bits - (_signs(one) @ _signs(other).T).float()) / 2).cpu().numpy())
        return np.asarray((1 - one @ other.T).clamp(min=0).cpu().numpy())


def _signs(codes: torch.Tensor) -> torch.Tensor:
    """(n, bits) of 1 and -1: half precision holds their sums, up to 2,048 bits, exactly, and tensor cores take it."""
    bits = codes[..., None] >> torch.arange(8, dtype=torch.uint8, device=codes.device) & 1
    kind = torch.float16 if codes.device.type == "cuda" else torch.float32
    return bits.flatten(1).to(kind) * 2 - 1
