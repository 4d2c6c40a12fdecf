"""View `resnet` on a GPU: resizing there, the network in full batches, one copy of it on each GPU."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.gpu.device import by_shape, first_of, on
from embeddings.gpu.resize import area
from embeddings.gpu.whitening import BLOCK, filled
from embeddings.types import Features, GreyImage
from embeddings.views.network import Network
from embeddings.views.resnet import BLANK_SPREAD, ResNet

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and spread that its weights were trained with


@dataclass(frozen=True)
class GpuResNet(ResNet):
    """The same features but for rounding; `device` is ``cpu``, ``cuda:N`` or ``cuda:all``."""

    @property
    def precision(self) -> str:
        """As on the CPU, told apart: parts of a build are never mixed."""
        return f"{self.network.precision}, GPU"

    @property
    def network(self) -> Network:
        """The network on the first GPU."""
        return self._on(first_of(self.device))

    @cached_property
    def _networks(self) -> dict[torch.device, Network]:
        return {}

    @cached_property
    def _loading(self) -> threading.Lock:
        return threading.Lock()

    def _on(self, where: torch.device) -> Network:
        with self._loading:
            if where not in self._networks:
                with torch.inference_mode(False):
                    self._networks[where] = Network(self.settings, str(where))
                if where.type == "cuda":
                    torch.cuda.synchronize(where)  # its weights were put there on one stream, and all will read them
            return self._networks[where]

    def features(self, images: Sequence[GreyImage]) -> Features:
        """As `ResNet.features`."""
        rows, blank = np.empty((len(images), 1, self.network.channels), np.float32), np.empty(len(images), bool)

        def work(stack: NDArray[np.uint8], places: NDArray[np.intp]) -> None:
            with on(self.device) as where:
                network, small = self._on(where), area(stack, self.settings.size, where)
                blank[places] = (small.flatten(1).std(dim=1, correction=0) < BLANK_SPREAD).cpu().numpy()
                batch = self._standardised(filled(small)).to(network.dtype, memory_format=torch.channels_last)
                rows[places, 0] = network.pooled(batch)[: len(places)]

        by_shape(images, BLOCK, work)
        return Features(list(rows), blank)

    def _standardised(self, images: torch.Tensor) -> torch.Tensor:
        """(n, s, s) -> (n, 3, s, s) or (n, 1, s, s), as `Network.batch` does it."""
        if self.settings.weights == "imagenet":
            mean, spread = (torch.tensor(each, device=images.device)[:, None, None] for each in IMAGENET)
            return (images[:, None] / 255 - mean) / spread
        variance, mean = torch.var_mean(images, dim=(1, 2), correction=0, keepdim=True)
        grey = ((images - mean) / (variance.sqrt() + 1e-3))[:, None]
        return grey.expand(-1, self.network.planes, -1, -1)
