"""View `phash` on a GPU: resizing and DCT as matrix products; images in which rounding could decide a bit go to the CPU."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.gpu.device import by_shape, on
from embeddings.gpu.resize import lanczos
from embeddings.types import Features, GreyImage
from embeddings.views.phash import BLANK_SPREAD, CERTAIN, OVERSAMPLING, PHash

_BATCH = 64


@dataclass(frozen=True)
class GpuPHash(PHash):
    """The same codes, bit for bit.

    Attributes:
        device: ``cpu``, ``cuda:N`` or ``cuda:all``.
    """

    device: str = "cpu"

    def features(self, images: Sequence[GreyImage]) -> Features:
        """As `PHash.features`."""
        codes = np.empty((len(images), 1, self.bits // 8), np.uint8)
        blank, sure = np.empty(len(images), bool), np.empty(len(images), bool)

        def work(stack: NDArray[np.uint8], places: NDArray[np.intp]) -> None:
            with on(self.device) as where:
                small, differences = self._differences(stack, where)
                sure[places] = (differences.abs().amin(dim=1) >= CERTAIN).cpu().numpy()
                codes[places, 0] = np.packbits((differences > 0).cpu().numpy(), axis=1)
                blank[places] = small.cpu().numpy().std(axis=(1, 2)) < BLANK_SPREAD  # as the CPU rounds it

        by_shape(images, _BATCH, work)
        doubtful = np.flatnonzero(~sure)
        if len(doubtful):
            codes[doubtful] = super().features([images[place] for place in doubtful.tolist()]).values
        return Features(list(codes), blank)

    def _differences(self, images: NDArray[np.uint8], where: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, size, size) shrunken images and (n, bits) frequencies less the median of their image, float64."""
        side = round(self.bits**0.5)
        small = lanczos(images, side * OVERSAMPLING, where)
        places = torch.arange(side * OVERSAMPLING, dtype=torch.float64, device=where)
        basis = 2 * torch.cos(torch.pi / (2 * len(places)) * torch.outer(places[:side], 2 * places + 1))  # DCT, type 2
        flat = (basis @ small @ basis.T).flatten(1)
        ordered = flat.sort(dim=1).values  # of an even number of frequencies torch's median is the lower middle one
        return small, flat - ordered[:, self.bits // 2 - 1 : self.bits // 2 + 1].mean(dim=1, keepdim=True)
