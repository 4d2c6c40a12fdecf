"""Distance matrices on a GPU."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.gpu.device import Kept, on, upload
from embeddings.types import Metric


class Distances:
    """Distances to vectors that stay on the device.

    Args:
        metric: how vectors are compared.
        vectors: (n, width), see `Embeddings.vectors`.
        device: ``cpu``, ``cuda:N`` or ``cuda:all``.
    """

    def __init__(self, metric: Metric, vectors: NDArray[Any], device: str) -> None:
        self._metric, self._vectors, self._device = metric, Kept(vectors), device

    def to(self, others: NDArray[Any]) -> NDArray[np.float32]:
        """(n, m) float32 to (m, width): of Hamming whole numbers and exact, of cosine within `brute_force.ROUNDING`."""
        with on(self._device) as where:
            one, other = self._vectors.on(where), upload(others, where)
            if self._metric is Metric.HAMMING:
                bits = 8 * others.shape[1]
                return np.asarray(((bits - (_signs(one) @ _signs(other).T).float()) / 2).cpu().numpy())
            return np.asarray((1 - one @ other.T).clamp(min=0).cpu().numpy())


def _signs(codes: torch.Tensor) -> torch.Tensor:
    """(n, bits) of 1 and -1: half precision holds their sums, up to 2,048 bits, exactly, and tensor cores take it."""
    bits = codes[..., None] >> torch.arange(8, dtype=torch.uint8, device=codes.device) & 1
    kind = torch.float16 if codes.device.type == "cuda" else torch.float32
    return bits.flatten(1).to(kind) * 2 - 1
