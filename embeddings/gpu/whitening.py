"""Whitening on a GPU, in blocks of one height, so that a row does not depend on its companions."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.gpu.device import Kept, on, upload
from embeddings.views.whitening import Whitening

BLOCK = 64


@dataclass(frozen=True)
class GpuWhitening(Whitening):
    """The same on a device: ``cpu``, ``cuda:N`` or ``cuda:all``."""

    device: str

    @cached_property
    def _kept(self) -> tuple[Kept, Kept]:
        return Kept(self.mean), Kept(self.axes)

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, d) float32 -> (n, dim) float32 unit rows."""
        out = np.empty((len(vectors), self.dim), np.float32)
        for start in range(0, len(vectors), BLOCK):
            part = vectors[start : start + BLOCK]
            with on(self.device) as where:
                mean, axes = (kept.on(where) for kept in self._kept)
                out[start : start + BLOCK] = unit_rows((filled(upload(part, where)) - mean) @ axes)[: len(part)].cpu().numpy()
        return out


def on_gpu(whitening: Whitening | None, device: str) -> GpuWhitening | None:
    """The whitening, where there is one, on a device."""
    return GpuWhitening(whitening.mean, whitening.axes, device) if whitening else None


def filled(rows: torch.Tensor, height: int = BLOCK) -> torch.Tensor:
    """At most `height` rows, filled up with zeros to exactly so many: products of other shapes round otherwise."""
    whole = rows.new_zeros((height, *rows.shape[1:]))
    whole[: len(rows)] = rows
    return whole


def unit_rows(rows: torch.Tensor) -> torch.Tensor:
    """As `embeddings.views.whitening.unit_rows`."""
    norms = rows.double().square().sum(dim=1, keepdim=True).sqrt()
    first = torch.zeros_like(rows)
    first[:, 0] = 1
    return torch.where(norms < 1e-12, first, rows / norms.clamp(min=1e-12).float())
