"""Method `relation`: a network on the feature maps of a real and a generated image scores whether they belong together."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from embeddings.types import GreyImage
from embeddings.views.network import repeatable
from embeddings.views.resnet import ResNetEmbedder
from query.inputs.images import Images
from query.membership.case import Answer, Case, MembershipError, Model, Needs, Rows, Values
from query.membership.features import drawn, labelled, look, same_sight, sight
from query.membership.imageclef2023.cnn import load_arrays, state_arrays
from query.membership.labels import both_kinds


class Compare(StrEnum):
    """What an image's feature maps are held against."""

    RELATION = "relation"  # those of generated images, by a network that is trained for it (Sung et al., CVPR 2018)
    L2 = "l2"  # the mean maps of used and of not used images (Snell et al., NIPS 2017), by Euclidean distance
    COSINE = "cosine"  # the same, by cosine distance


@dataclass(frozen=True)
class Relation:
    """The relation network of Bharathi et al. (CLEF 2023 working notes): F1 0.614 on the task's test images.

    Feature maps of a real and a generated image are concatenated, two stages of convolution, normalisation and pooling and two
    dense layers give a relation score. It is to be 1 for a used image beside any generated one and 0 for others; an image's score
    is the mean over generated images. As in Sung et al. the error is squared and Adam's rate 1e-3. Other than published, the
    ResNet stays as it is and its maps are first reduced by a convolution 1x1, one for real and one for generated images in place
    of the two ResNets that were trained; and each real image meets a draw of the generated ones instead of all.

    Attributes:
        compare: the network, or one of the two simpler variants, which see no generated image.
        width: channels after the reduction.
        hidden: units between the dense layers; published were 8.
        epochs: passes over the labelled images.
        partners: generated images that a real image meets in a pass.
        batch: real images for one step.
        rate: Adam's.
        generated: at most so many generated images are drawn to learn from; published were 500.
        sample: at most so many generated images are drawn to score an image with.
    """

    compare: Compare = Compare.RELATION
    width: int = 64
    hidden: int = 8
    epochs: int = 10
    partners: int = 8
    batch: int = 8
    rate: float = 1e-3
    generated: int = 500
    sample: int = 100
    needs = Needs.LABELS
    looks = True
    views = ("resnet",)

    @property
    def name(self) -> str:
        """``relation``, for the variants ``relation-l2`` and ``relation-cosine``."""
        return "relation" if self.compare == Compare.RELATION else f"relation-{self.compare}"

    def fit(self, case: Case) -> Model:
        """Arrays: the relation module's state dict, or ``prototypes`` (2, c, h, w) float32 of images not used and used."""
        both_kinds(case, self.name)
        features = sight(case, self.views)
        rows, used = labelled(case)
        real = feature_maps(case.real, rows)
        if self.compare == Compare.RELATION:
            generated = feature_maps(case.generated, drawn(case.generated, self.generated, case.seed))
            arrays = state_arrays(self._trained(real, used, generated, case.seed))
        else:
            arrays = {"prototypes": np.stack([real[used == kind].mean(axis=0, dtype=np.float64) for kind in (0, 1)])}
        return Model(self.name, arrays, {"features": features, "channels": real.shape[1]})

    def answer(self, case: Case, model: Model) -> Answer:
        """Mean relation score, or the distance to the prototype of images not used as a share of both distances."""
        if model.method != self.name:
            raise MembershipError(f"this model was fitted by {model.method} and cannot be applied by {self.name}: fit again")
        same_sight(case, model)
        real = feature_maps(case.real, np.arange(len(case.real)))
        if self.compare == Compare.RELATION:
            generated = feature_maps(case.generated, drawn(case.generated, self.sample, case.seed))
            note = f"Used where the mean relation score over {len(generated)} generated images is 0.5 or more."
            value = self._scored(real, generated, model)
        else:
            note = "Used where the mean feature map of images used is nearer than that of images not used."
            value = _nearness(real, model.arrays["prototypes"], self.compare)
        return Answer(value, 0.5, calibrated=True, note=note)

    def _trained(
        self, real: NDArray[np.float32], used: NDArray[np.int64], generated: NDArray[np.float32], seed: int
    ) -> "RelationModule":
        left, right, wanted = torch.from_numpy(real), torch.from_numpy(generated), torch.from_numpy(used.astype(np.float32))
        partners = min(self.partners, len(right))
        with repeatable(seed):
            module = RelationModule(real.shape[1], self.width, self.hidden)
            optimiser = torch.optim.Adam(module.parameters(), self.rate)
            for _ in range(self.epochs):
                for chosen in torch.split(torch.randperm(len(left)), self.batch):
                    rows = chosen.repeat_interleave(partners)
                    columns = torch.cat([torch.randperm(len(right))[:partners] for _ in chosen])
                    optimiser.zero_grad()
                    loss = nn.functional.mse_loss(module(left[rows], right[columns]), wanted[rows])
                    loss.backward()
                    optimiser.step()
        return module

    def _scored(self, real: NDArray[np.float32], generated: NDArray[np.float32], model: Model) -> Values:
        """Mean score of each real image, (n,) float64, over all these generated ones."""
        value = np.empty(len(real))
        with torch.inference_mode(), repeatable(0):  # layers draw their first weights when they are made
            module = RelationModule(model.facts["channels"], self.width, self.hidden)
            load_arrays(module, model)
            generated_maps = module.right(torch.from_numpy(generated))
            for row, maps in enumerate(real):  # one by one, so that no image depends on its companions
                image = module.left(torch.from_numpy(maps[None]))
                value[row] = float(module.related(image.expand(len(generated_maps), -1, -1, -1), generated_maps).double().mean())
        return value


class RelationModule(nn.Module):
    """Score 0..1 of pairs of feature maps, (n, channels, h, w) both -> (n,)."""

    def __init__(self, channels: int, width: int, hidden: int) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.right = nn.Sequential(nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(
            *(nn.Conv2d(2 * width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveMaxPool2d(5)),
            *(nn.Conv2d(width, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveMaxPool2d(1)),
            *(nn.Flatten(), nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid()),
        )

    def forward(self, real: torch.Tensor, generated: torch.Tensor) -> torch.Tensor:
        """Maps as the ResNet gives them."""
        return self.related(self.left(real), self.right(generated))

    def related(self, real: torch.Tensor, generated: torch.Tensor) -> torch.Tensor:
        """Maps after the reduction, (n, width, h, w)."""
        scores: torch.Tensor = self.body(torch.cat([real, generated], dim=1))[:, 0]
        return scores


def feature_maps(images: Images, rows: Rows) -> NDArray[np.float32]:
    """(n, channels, h, w) float32, what the network pools otherwise."""
    eye = images.embedders["resnet"]
    if not isinstance(eye, ResNetEmbedder):
        raise MembershipError("feature maps come from the view resnet alone")

    def maps(batch: Sequence[GreyImage]) -> NDArray[np.float32]:
        return eye.view.maps(batch)

    return np.concatenate(list(look(images, rows, maps)))


def _nearness(real: NDArray[np.float32], prototypes: NDArray[Any], compare: Compare) -> Values:
    """(n,) d(not used) / (d(not used) + d(used)): above 0.5 where the prototype of used images is nearer."""
    against = prototypes.reshape(2, -1).astype(np.float64)
    value = np.empty(len(real))
    for row, maps in enumerate(real):
        flat = maps.reshape(1, -1).astype(np.float64)
        if compare == Compare.L2:
            distances = np.sqrt(((against - flat) ** 2).sum(axis=1))
        else:
            lengths = np.sqrt((against**2).sum(axis=1) * (flat**2).sum())
            distances = 1 - (against * flat).sum(axis=1) / np.maximum(lengths, 1e-12)
        value[row] = distances[0] / max(distances.sum(), 1e-12)
    return value
