"""DeepSSIM: Scardace, Puglisi et al., a novel metric for detecting memorization in generative models for brain MRI (2025).

After the preprint's abstract (arXiv 2509.16582) and the authors' code (repository brAIn-science/DeepSSIM,
`scripts/deepssim_train.py`, `src/train/`, `src/utils/ssim.py`, `src/scorers/deepssim.py`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import nn

from embeddings.views.network import repeatable
from rival_methods.networks import WIDTH, Variation, begun, quick, shrunk, vectors
from rival_methods.rival import Compared, Groups, Pictures, correlation, cosine

Pairs = NDArray[np.int64]  # (2, n) rows of real and of generated pictures


@dataclass(frozen=True)
class DeepSsim:
    """A network whose cosine between two pictures is trained to be the SSIM that they have before they are turned and flipped.

    As published: 256 features behind a layer of 512 with GELU and dropout of 0.33; squared error; pictures standardised; flips,
    turns by up to 10 degrees and gamma of 0.5 to 1.5, each with a chance of 0.33 for each of both; AdamW at 1e-3 with decay of
    1e-3, gradients cut at length 1, batches of 32; the first two stages do not learn. Copies have a cosine above 0.85.

    Other than published: ResNet-18 instead of ConvNeXt, see `networks` for where it begins; 64 pixels; `steps` instead of 40
    epochs. How pairs were drawn is not in their code: here half at random and half each real picture with one of its five
    nearest generated ones by pixels, or similarities near 1 are never seen.

    Attributes:
        pairs: that are trained on.
        steps: of training.
        seed: of both.
    """

    pairs: int = 2400
    steps: int = 200
    seed: int = 0
    features: int = 256
    batch: int = 32
    rate: float = 1e-3
    decay: float = 1e-3
    dropout: float = 0.33
    near: int = 5
    same: float = 0.85
    name = "deepssim"

    def compare(self, real: Pictures, generated: Pictures, groups: Groups) -> Compared:
        """See `Rival`."""
        one, other = shrunk(real), shrunk(generated)
        pairs = self._drawn(one.numpy(), other.numpy())
        wanted = torch.tensor([similarity(one[r, 0].numpy(), other[g, 0].numpy()) for r, g in pairs.T], dtype=torch.float32)
        with repeatable(self.seed):
            network = self._trained(one[pairs[0]], other[pairs[1]], wanted)
            return Compared(cosine(vectors(network, one), vectors(network, other)), 1 - self.same)

    def _drawn(self, real: NDArray[np.float32], generated: NDArray[np.float32]) -> Pairs:
        rng = np.random.default_rng(self.seed)
        flat = [side.reshape(len(side), -1) for side in (real, generated)]
        nearest = np.argsort(correlation(*flat), axis=1)[:, : self.near]
        rows = rng.integers(len(real), size=self.pairs)
        partners = rng.integers(len(generated), size=self.pairs)
        close = rng.integers(nearest.shape[1], size=self.pairs)
        half = np.arange(self.pairs) < self.pairs // 2
        return np.array([rows, np.where(half, nearest[rows, close], partners)])

    def _trained(self, one: torch.Tensor, other: torch.Tensor, wanted: torch.Tensor) -> nn.Module:
        layers = (nn.Linear(WIDTH, 512), nn.GELU(), nn.Dropout(self.dropout), nn.Linear(512, self.features))
        network = begun(nn.Sequential(nn.BatchNorm1d(WIDTH), *layers), frozen=("conv1", "bn1", "layer1")).train()
        learning = [weights for weights in network.parameters() if weights.requires_grad]
        optimiser = torch.optim.AdamW(learning, self.rate, weight_decay=self.decay)
        change = Variation(0.33, degrees=10, down=True, gamma=(0.5, 1.5))
        for _ in range(self.steps):
            some = torch.randperm(len(wanted))[: self.batch]
            optimiser.zero_grad()
            pictures = [change.of(side[some]) for side in (one, other)]
            with quick():
                left, right = (network(each) for each in pictures)
            nn.functional.mse_loss(nn.functional.cosine_similarity(left.float(), right.float()), wanted[some]).backward()
            nn.utils.clip_grad_norm_(learning, 1.0)
            optimiser.step()
        return network


def similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """SSIM of two standardised pictures, their range that of the first."""
    left, right = ((side - side.mean()) / max(float(side.std()), 1e-6) for side in (one, other))
    return float(structural_similarity(left, right, data_range=max(float(np.ptp(left)), 1e-6)))
