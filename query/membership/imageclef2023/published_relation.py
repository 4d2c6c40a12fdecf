"""Method `relation-published`: two ResNets and a relation module, trained together from random weights, as the team's code."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from embeddings.types import GreyImage
from embeddings.views.network import cuda_devices, load, repeatable
from embeddings.views.resnet_settings import ResNetSettings
from query.inputs.images import Images
from query.membership.case import Answer, Case, MembershipError, Model, Needs, Rows, Values
from query.membership.features import drawn, labelled, look
from query.membership.imageclef2023.cnn import load_arrays, state_arrays
from query.membership.labels import both_kinds


@dataclass(frozen=True)
class PublishedRelation:
    """The relation network as Bharathi et al. trained it (CLEF 2023 working notes; F1 0.614), from their code.

    Two ResNet-101, one for real and one for generated images, start from random weights (Kaiming's; no ImageNet), see grey levels
    0..255 of 256 pixels and have no pooling behind their first layer; both are trained with the relation module. Binary cross
    entropy, SGD with a rate of 1e-5, momentum 0.9 and weight decay 5e-4, eight pairs a step; every labelled image meets every
    generated one in each pass. Without a GPU a pass takes days.

    Other than in the code: scores are no softmax over a batch, by which a pair that is scored alone, as the team's test does,
    always gets 1; a pass is one (the code says 100, but starts from a checkpoint of the first); images are scored by a draw of
    the generated ones.

    Attributes:
        architecture: of both branches.
        size: of the pictures, pixels.
        hidden: units between the dense layers.
        passes: over all pairs.
        batch, rate, momentum, decay: of the training.
        generated: at most so many generated images are drawn to learn from.
        sample: at most so many generated images are drawn to score an image with.
    """

    architecture: str = "resnet101"
    size: int = 256
    hidden: int = 8
    passes: int = 1
    batch: int = 8
    rate: float = 1e-5
    momentum: float = 0.9
    decay: float = 5e-4
    generated: int = 500
    sample: int = 100
    name = "relation-published"
    needs = Needs.LABELS
    looks = True
    views = ()

    def fit(self, case: Case) -> Model:
        """Arrays: the state dict of both branches and the relation module."""
        both_kinds(case, self.name)
        rows, used = labelled(case)
        real = self._pictures(case.real, rows)
        generated = self._pictures(case.generated, drawn(case.generated, self.generated, case.seed))
        network = self._trained(torch.from_numpy(real), torch.from_numpy(generated), used, case.seed)
        return Model(self.name, state_arrays(network.cpu()), {"architecture": self.architecture, "size": self.size})

    def answer(self, case: Case, model: Model) -> Answer:
        """Mean relation score over generated images."""
        if (model.facts["architecture"], model.facts["size"]) != (self.architecture, self.size):
            raise MembershipError(f"this {self.name} model is of another network or size: fit again")
        real = self._pictures(case.real, np.arange(len(case.real)))
        generated = self._pictures(case.generated, drawn(case.generated, self.sample, case.seed))
        with torch.inference_mode(), repeatable(0):  # layers draw their first weights when they are made
            network = Pair(self.architecture, self.hidden, seed=0)
            load_arrays(network, model)
            value = _scored(network.to(_device()), torch.from_numpy(real), torch.from_numpy(generated))
        note = f"Used where the mean relation score over {len(generated)} generated images is 0.5 or more."
        return Answer(value, 0.5, calibrated=True, note=note)

    def _trained(self, real: torch.Tensor, generated: torch.Tensor, used: NDArray[np.int64], seed: int) -> "Pair":
        wanted, device = torch.from_numpy(used.astype(np.float32)), _device()
        with repeatable(seed):
            network = Pair(self.architecture, self.hidden, seed).to(device)
            optimiser = torch.optim.SGD(network.parameters(), self.rate, self.momentum, weight_decay=self.decay)
            for _ in range(self.passes):
                for pairs in torch.split(torch.randperm(len(real) * len(generated)), self.batch):
                    rows, columns = pairs // len(generated), pairs % len(generated)
                    optimiser.zero_grad()
                    scores = network(real[rows].to(device), generated[columns].to(device))
                    nn.functional.binary_cross_entropy(scores, wanted[rows].to(device)).backward()
                    optimiser.step()
        return network

    def _pictures(self, images: Images, rows: Rows) -> NDArray[np.float32]:
        """(n, 1, size, size) float32, 0..255."""

        def see(batch: Sequence[GreyImage]) -> list[NDArray[np.float32]]:
            return [np.asarray(Image.fromarray(each).resize((self.size, self.size)), np.float32)[None] for each in batch]

        return np.array([each for part in look(images, rows, see) for each in part])


class Pair(nn.Module):
    """Score 0..1 of pairs of pictures, (n, 1, h, w) both -> (n,); the relation module is that of Sung et al. (CVPR 2018)."""

    def __init__(self, architecture: str, hidden: int, seed: int) -> None:
        super().__init__()
        self.real, self.generated = branch(architecture, 2 * seed), branch(architecture, 2 * seed + 1)
        width = len(list(self.real.parameters())[-1])  # of the last normalisation
        self.relation = nn.Sequential(
            *(nn.Conv2d(2 * width, width, 3, padding=1), nn.BatchNorm2d(width, momentum=1), nn.ReLU(), nn.AdaptiveMaxPool2d(5)),
            *(nn.Conv2d(width, width, 3), nn.BatchNorm2d(width, momentum=1), nn.ReLU(), nn.AdaptiveMaxPool2d(1)),
            *(nn.Flatten(), nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid()),
        )

    def forward(self, real: torch.Tensor, generated: torch.Tensor) -> torch.Tensor:
        """Pictures of grey levels 0..255."""
        return self.related(self.real(real), self.generated(generated))

    def related(self, real: torch.Tensor, generated: torch.Tensor) -> torch.Tensor:
        """Maps that the branches made."""
        scores: torch.Tensor = self.relation(torch.cat([real, generated], dim=1))[:, 0]
        return scores


def branch(architecture: str, seed: int) -> nn.Sequential:
    """A ResNet of one grey plane up to its last maps, without the pooling behind its first layer; random weights."""
    module = load(ResNetSettings(architecture, f"random:{seed}"))
    first = nn.Conv2d(1, 64, 7, 2, 1, bias=False)
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    for block in module.modules():
        last = getattr(block, "bn3", getattr(block, "bn2", None))
        if last is not None:
            nn.init.zeros_(last.weight)  # every block begins as the identity
    return nn.Sequential(first, module.bn1, module.relu, module.layer1, module.layer2, module.layer3, module.layer4).train()


def _scored(network: Pair, real: torch.Tensor, generated: torch.Tensor) -> Values:
    """(n,) float64 mean score over all these generated pictures."""
    device = next(network.parameters()).device
    others = torch.cat([network.generated(each[None].to(device)) for each in generated])
    value = np.empty(len(real))
    for row, image in enumerate(real):
        maps = network.real(image[None].to(device))
        scores = [network.related(maps, other[None]) for other in others]  # one by one: no pair depends on its companions
        value[row] = float(torch.cat(scores).double().mean())
    return value


def _device() -> torch.device:
    return torch.device("cuda" if cuda_devices() else "cpu")
