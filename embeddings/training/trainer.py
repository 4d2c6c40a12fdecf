"""Train a network to recognise copies by contrastive learning; slices of the same patient are the hardest negatives.

Self-supervised: normalised temperature-scaled cross-entropy (Chen et al., SimCLR, ICML 2020) with soft targets for pictures mixed
from several sources (Yokoo, arXiv:2104.13535, and Pizzi et al., SSCD, CVPR 2022, for copy detection) and a term that spreads
vectors over the sphere (Sablayrolles et al., ICLR 2019). What is kept is the exponential moving average of the weights.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from embeddings.files.writing import write_atomic
from embeddings.pipeline import workers
from embeddings.training.augmentation import distorted
from embeddings.types import GreyImage
from embeddings.views.resnet_settings import standardised

Report = Callable[[int, float], None]  # steps done, loss of the last one


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: number of batches.
        batch: sources in a batch; each is there as it is and distorted, so the network sees twice as many pictures.
        sizes: pairs (until which share of the steps, side of the square in pixels): small pictures first, as they are cheap.
        rate: highest learning rate; it rises over the first twentieth of the steps and falls along a cosine to nothing.
        decay: weight decay.
        temperature: of the softmax.
        spreading: weight of the spreading term.
        mixing: share of distorted pictures with more than one source.
        average: decay of the moving average for each step.
        seed: of all draws.
    """

    steps: int
    batch: int = 128
    sizes: tuple[tuple[float, int], ...] = ((0.4, 96), (1.0, 128))
    rate: float = 1e-3
    decay: float = 0.02
    temperature: float = 0.07
    spreading: float = 0.3
    mixing: float = 0.45
    average: float = 0.998
    seed: int = 0

    def size(self, step: int) -> int:
        """Side of the pictures at a step."""
        return next(size for until, size in self.sizes if step < until * self.steps)

    def rate_at(self, step: int) -> float:
        """Learning rate at a step."""
        rise = max(1, self.steps // 20)
        if step < rise:
            return self.rate * (step + 1) / rise
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise)))


@dataclass(frozen=True)
class Pictures:
    """What is learned from.

    Attributes:
        pixels: (n, s, s) uint8, possibly mapped from a file.
        families: (n,) which pictures are siblings; at most two of a family meet in a batch.
    """

    pixels: NDArray[np.uint8]
    families: NDArray[np.int64]

    def members(self) -> list[NDArray[np.int64]]:
        """Rows of each family."""
        order = np.argsort(self.families, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.families[order])) + 1)


# Batches ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """Sources (n, 1, s, s) float32, their distortions likewise, and the share of source j in distortion i, (n, n) float32."""

    sources: NDArray[np.float32]
    copies: NDArray[np.float32]
    shares: NDArray[np.float32]


class _Dealer:
    """Makes batches; batch number n is the same whatever came before."""

    def __init__(self, pictures: Pictures, recipe: Recipe, run: Callable[..., Iterator[Any]]) -> None:
        self.pictures, self.recipe, self.run = pictures, recipe, run
        self.members = pictures.members()

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng([self.recipe.seed, step])
        rows = self._rows(rng)
        partners = [self._partners(i, len(rows), rng) for i in range(len(rows))]
        make = partial(self._pair, rows=rows, partners=partners, step=step)
        pairs = list(self.run(make, range(len(rows))))
        shares = np.zeros((len(rows), len(rows)), np.float32)
        for i, (own, (_, _, part)) in enumerate(zip(partners, pairs, strict=True)):
            shares[i, own] = part
        sources, copies = (standardised(np.stack([m[side] for m in pairs])) for side in (0, 1))
        return Batch(sources, copies, shares)

    def _rows(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Different pictures; of every second family that has them, two siblings."""
        rows: list[int] = []
        for family in rng.permutation(len(self.members)):
            members = self.members[family]
            take = 2 if len(members) > 1 and rng.random() < 0.5 else 1
            rows.extend(rng.choice(members, take, replace=False))
            if len(rows) >= self.recipe.batch:
                break
        return np.array(rows[: self.recipe.batch])

    def _partners(self, own: int, count: int, rng: np.random.Generator) -> list[int]:
        """Which sources of the batch go into a copy of the `own` one, itself first."""
        if count < 3 or rng.random() >= self.recipe.mixing:
            return [own]
        others = rng.choice(count - 1, 1 + int(rng.random() < 0.3), replace=False)
        return [own, *(int(o) + int(o >= own) for o in others)]

    def _pair(self, i: int, rows: NDArray[np.int64], partners: list[list[int]], step: int) -> tuple[Any, Any, Any]:
        rng = np.random.default_rng([self.recipe.seed, step, i])
        side = self.recipe.size(step)
        sources: list[GreyImage] = [np.asarray(self.pictures.pixels[rows[j]]) for j in partners[i]]
        copy, shares = distorted(sources, rng)
        small = partial(cv2.resize, dsize=(side, side), interpolation=cv2.INTER_AREA)
        return small(sources[0]).astype(np.float32), small(copy).astype(np.float32), shares


# Loss ---------------------------------------------------------------------------------------------------------------------


def copy_loss(sources: torch.Tensor, copies: torch.Tensor, shares: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy of who comes from whom.

    A copy should find its sources, in proportion to their shares, among all sources and all copies of others; a source should
    find the copies that it went into. Copies with a source in common neither attract nor repel each other.

    Args:
        sources, copies: (n, d) unit rows.
        shares: (n, n), row i: the share of every source in copy i; rows add up to 1.
        temperature: of the softmax.
    """
    n = len(sources)
    vectors = torch.cat([sources, copies])
    logits = vectors @ vectors.T / temperature
    related = shares > 0
    ignored = torch.eye(2 * n, dtype=torch.bool, device=vectors.device)
    ignored[n:, n:] |= (related.float() @ related.float().T) > 0
    logits = logits.masked_fill(ignored, -1e9)
    target = torch.zeros_like(logits)
    target[n:, :n] = shares
    target[:n, n:] = shares.T / shares.sum(dim=0)[:, None]
    return -(target * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()


def spreading_loss(vectors: torch.Tensor) -> torch.Tensor:
    """Mean of -log distance to the nearest other vector (Sablayrolles et al., ICLR 2019): none may crowd another."""
    cosine = vectors @ vectors.T - 4 * torch.eye(len(vectors), device=vectors.device)
    # not by indexing `vectors`: its gradient adds up in an order that threads decide
    distance = (2 - 2 * cosine.max(dim=1).values).clamp(min=1e-7).sqrt()
    return -torch.log(distance + 1e-4).mean()


# Training -----------------------------------------------------------------------------------------------------------------


class Trainer:
    """A network being trained, with all that is needed to go on after a stop.

    Args:
        module: gives vectors (n, d) for pictures (n, 1, s, s); trained in place.
        pictures: what it learns from.
        recipe: how.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, module: nn.Module, pictures: Pictures, recipe: Recipe, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.recipe, self.pictures, self.step = recipe, pictures, 0
        self.module: nn.Module = module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = get_ema_multi_avg_fn(recipe.average)
        self.mean = AveragedModel(self.module, multi_avg_fn=average, use_buffers=True)
        gains = [p for p in self.module.parameters() if p.ndim < 2]  # biases and normalisation: no decay
        weights = [p for p in self.module.parameters() if p.ndim >= 2]
        groups = [{"params": weights, "weight_decay": recipe.decay}, {"params": gains, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.rate)

    @property
    def averaged(self) -> nn.Module:
        """The moving average of the weights, in evaluation mode."""
        return self.mean.module.eval()

    def run(self, until: int, report: Report | None = None) -> None:
        """Train up to a step, with a thread for each core, whatever was computed with before."""
        torch.set_num_threads(workers())
        with ThreadPoolExecutor(workers()) as pool, ThreadPoolExecutor(1) as ahead:
            dealer = _Dealer(self.pictures, self.recipe, pool.map)
            coming = ahead.submit(dealer.batch, self.step) if self.step < until else None
            while coming is not None:
                batch = coming.result()
                coming = ahead.submit(dealer.batch, self.step + 1) if self.step + 1 < until else None
                loss = self._learn(batch)
                self.step += 1
                if report:
                    report(self.step, loss)

    def _learn(self, batch: Batch) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(self.step)
        self.module.train()
        pictures = torch.from_numpy(np.concatenate([batch.sources, batch.copies])).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            vectors = self.module(pictures.contiguous(memory_format=torch.channels_last))
        sources, copies = nn.functional.normalize(vectors.float(), dim=1).chunk(2)
        shares = torch.from_numpy(batch.shares).to(self.device)
        loss = copy_loss(sources, copies, shares, self.recipe.temperature)
        loss = loss + self.recipe.spreading * (spreading_loss(sources) + spreading_loss(copies)) / 2
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 5.0)
        self.optimizer.step()
        self.mean.update_parameters(self.module)
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Everything that `restore` needs, put in place at once."""
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "module": self.module.state_dict(),
            "mean": self.mean.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_atomic(path, lambda file: torch.save(state, file))

    def restore(self, path: Path) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: it is of another recipe.
        """
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{path}: the state of a training with other settings; remove it, or train with those")
        self.step = state["step"]
        self.module.load_state_dict(state["module"])
        self.mean.load_state_dict(state["mean"])
        self.optimizer.load_state_dict(state["optimizer"])
