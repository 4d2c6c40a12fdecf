"""View `pixels` on a GPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.gpu.device import by_shape, on
from embeddings.gpu.resize import area
from embeddings.gpu.whitening import BLOCK, filled, on_gpu, unit_rows
from embeddings.types import Features, GreyImage
from embeddings.views.pixels import BLANK_SPREAD, PixelEmbedder, Pixels
from embeddings.views.whitening import Whitening, digest


@dataclass(frozen=True)
class GpuPixels(Pixels):
    """The same vectors but for rounding.

    Attributes:
        device: ``cpu``, ``cuda:N`` or ``cuda:all``.
    """

    device: str = "cpu"
    precision = "float32, GPU"

    def features(self, images: Sequence[GreyImage]) -> Features:
        """As `Pixels.features`."""
        rows, blank = np.empty((len(images), 1, self.settings.size**2), np.float32), np.empty(len(images), bool)

        def work(stack: NDArray[np.uint8], places: NDArray[np.intp]) -> None:
            with on(self.device) as where:
                levels = filled(area(stack, self.settings.size, where).flatten(1))
                levels -= levels.mean(dim=1, keepdim=True)
                rows[places, 0] = unit_rows(levels)[: len(places)].cpu().numpy()
                blank[places] = (levels.std(dim=1, correction=0) < BLANK_SPREAD)[: len(places)].cpu().numpy()

        by_shape(images, BLOCK, work)
        return Features(list(rows), blank)

    def embedder(self, learned: Mapping[str, NDArray[Any]]) -> PixelEmbedder:
        """The view with its whitening."""
        return PixelEmbedder(self, on_gpu(Whitening.from_arrays(learned), self.device), digest(learned))
