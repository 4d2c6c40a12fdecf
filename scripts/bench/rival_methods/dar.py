"""Dar et al.: unconditional latent diffusion models memorize patient imaging data (Nature Biomedical Engineering 2025).

After the preprint (arXiv 2402.01054) and the authors' code (repository Cardio-AI/memorization-ldm, `train_selfsupervised2D.py`,
`dataset/nih_chest_xray_cl.py`, README).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from embeddings.views.network import repeatable
from rival_methods.networks import WIDTH, Variation, begun, quick, shrunk, vectors
from rival_methods.rival import Compared, Groups, Pictures, correlation


@dataclass(frozen=True)
class Dar:
    """A network that draws each real picture to its own variation and away from all others; copies correlate.

    As published: 128 features, NT-Xent loss of temperature 0.07, the picture itself beside one that is turned by up to 5 degrees
    and flipped, each with a chance of a half; batches of 64, Adam at 1e-4 falling to a half along a cosine. Copies are pairs
    that correlate more than the 95th percentile of real pictures with their nearest in the validation set.

    Other than published: ResNet-18 instead of 50, 64 pixels instead of 512, `steps` instead of 200 epochs, see `networks` for
    where it begins; all real pictures are trained on, since nobody knows which the generator saw; and the validation set is all
    patients but a picture's own.

    Attributes:
        steps: of training.
        seed: of it.
    """

    steps: int = 100
    seed: int = 0
    features: int = 128
    temperature: float = 0.07
    batch: int = 64
    rate: float = 1e-4
    percentile: float = 95
    name = "dar"

    def compare(self, real: Pictures, generated: Pictures, groups: Groups) -> Compared:
        """See `Rival`."""
        one = shrunk(real)
        with repeatable(self.seed):
            network = self._trained(one)
            embedded, other = vectors(network, one), vectors(network, shrunk(generated))
        among = correlation(embedded, embedded)
        among[groups[:, None] == groups[None]] = np.inf
        nearest = among.min(axis=1)
        known = nearest[np.isfinite(nearest)]
        limit = float(np.percentile(known, 100 - self.percentile)) if len(known) else None
        return Compared(correlation(embedded, other), limit)

    def _trained(self, pictures: torch.Tensor) -> nn.Module:
        network = begun(nn.Linear(WIDTH, self.features)).train()
        optimiser = torch.optim.Adam(network.parameters(), self.rate)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps, eta_min=self.rate / 2)
        change = Variation(0.5, degrees=5)
        for _ in range(self.steps):
            some = pictures[torch.randperm(len(pictures))[: self.batch]]
            optimiser.zero_grad()
            varied = change.of(some)
            with quick():
                one, other = network(some), network(varied)
            contrast(one.float(), other.float(), self.temperature).backward()
            optimiser.step()
            falling.step()
        return network


def contrast(one: torch.Tensor, other: torch.Tensor, temperature: float) -> torch.Tensor:
    """NT-Xent of n pairs (Chen et al., ICML 2020): each of 2n vectors shall be nearest its partner, by cosine."""
    both = nn.functional.normalize(torch.cat([one, other]))
    alike = both @ both.T / temperature
    alike = alike.masked_fill(torch.eye(len(both), dtype=torch.bool), -torch.inf)
    partner = torch.arange(len(both)).roll(len(one))
    return nn.functional.cross_entropy(alike, partner)
