"""What the rivals that train a network have in common: where they begin, pictures in, vectors out, random variations.

The published ones begin with ImageNet weights, which cannot be had offline. Here they begin with the network that synthtrace
ships: a ResNet-18 that was trained to recognise copies. That lends them what we have.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from embeddings.views.network import load_copy_network
from rival_methods.rival import Pictures

SIZE = 64  # pixels a side
BATCH = 64  # pictures embedded together
WIDTH = 512  # features of a ResNet-18


class Standardise(nn.Module):
    """Each picture to mean 0 and spread 1, as the network that training begins with expects."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        mean, spread = pictures.mean(dim=(2, 3), keepdim=True), pictures.std(dim=(2, 3), keepdim=True)
        return (pictures - mean) / (spread + 1e-5)


def begun(head: nn.Module, frozen: tuple[str, ...] = ()) -> nn.Module:
    """The network that training begins with, its last layer replaced; layers named in `frozen` do not learn."""
    body: Any = load_copy_network("bundled")
    body.fc = head
    for name, weights in body.named_parameters():
        weights.requires_grad = name.partition(".")[0] not in frozen
    return nn.Sequential(Standardise(), body)


def shrunk(pictures: Pictures) -> torch.Tensor:
    """(n, 1, SIZE, SIZE) float32, 0..1."""
    small = [cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for picture in pictures]
    return torch.from_numpy(np.array(small, np.float32)[:, None] / np.float32(255))


def quick() -> AbstractContextManager[object]:
    """Forward passes inside compute in bfloat16, which takes half the time where the processor has it."""
    return torch.autocast("cpu", torch.bfloat16)


def vectors(network: nn.Module, pictures: torch.Tensor) -> NDArray[np.float32]:
    """(n, width) of the trained network."""
    network.eval()
    with torch.inference_mode():
        return np.concatenate([network(part).numpy() for part in torch.split(pictures, BATCH)])


@dataclass(frozen=True)
class Variation:
    """Random changes of a picture, each with its own chance.

    Attributes:
        chance: of each.
        degrees: turned by up to so many, either way.
        down: whether it may be flipped upside down; left to right it always may.
        gamma: exponents from lowest to highest, None for none.
    """

    chance: float
    degrees: float
    down: bool = False
    gamma: tuple[float, float] | None = None

    def of(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 1, s, s) in 0..1, changed; what is turned in is black. Draws from torch's generator."""
        count = len(pictures)
        angle = self._drawn(count) * (2 * torch.rand(count) - 1) * np.deg2rad(self.degrees)
        across = 1 - 2 * self._drawn(count)
        down = 1 - 2 * self._drawn(count) if self.down else torch.ones(count)
        rows = torch.stack([across * angle.cos(), -across * angle.sin(), down * angle.sin(), down * angle.cos()], dim=1)
        turn = torch.cat([rows.reshape(count, 2, 2), torch.zeros(count, 2, 1)], dim=2)
        grid = nn.functional.affine_grid(turn, list(pictures.shape), align_corners=False)
        turned = nn.functional.grid_sample(pictures, grid, align_corners=False).clamp(0, 1)
        if self.gamma is None:
            return turned
        low, high = self.gamma
        exponent = torch.where(self._drawn(count) > 0, low + (high - low) * torch.rand(count), torch.ones(count))
        return (turned + 1e-6) ** exponent[:, None, None, None]  # the slope of a root is infinite at 0

    def _drawn(self, count: int) -> torch.Tensor:
        return (torch.rand(count) < self.chance).float()
