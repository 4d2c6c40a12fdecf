"""Whitening on a GPU, in blocks of one height, so that a row does not depend on its companions."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.gpu.device import on, upload
from embeddings.views.whitening import Whitening

BLOCK = 64


def whitened(whitening: Whitening, vectors: NDArray[Any], device: str) -> NDArray[np.float32]:
    """`Whitening.apply` on a device: (n, d) float32 -> (n, dim) float32 unit rows."""
    out = np.empty((len(vectors), whitening.dim), np.float32)
    for start in range(0, len(vectors), BLOCK):
        part = vectors[start : start + BLOCK]
        with on(device) as where:
            mean, axes = upload(whitening.mean, where), upload(whitening.axes, where)
            out[start : start + BLOCK] = unit_rows((filled(upload(part, where)) - mean) @ axes)[: len(part)].cpu().numpy()
    return out


def filled(rows: torch.Tensor) -> torch.Tensor:
    """At most `BLOCK` rows, filled up with zeros to exactly so many."""
    whole = rows.new_zeros((BLOCK, *rows.shape[1:]))
    whole[: len(rows)] = rows
    return whole


def unit_rows(rows: torch.Tensor) -> torch.Tensor:
    """As `embeddings.views.whitening.unit_rows`."""
    norms = rows.double().square().sum(dim=1, keepdim=True).sqrt()
    first = torch.zeros_like(rows)
    first[:, 0] = 1
    return torch.where(norms < 1e-12, first, rows / norms.clamp(min=1e-12).float())
