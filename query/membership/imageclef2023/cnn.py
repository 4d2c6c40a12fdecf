"""Method `cnn`: a small convolutional network, trained on used and unused images; it never sees a generated image."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from embeddings.views.network import repeatable
from query.inputs.images import Images
from query.membership.case import Answer, Case, MembershipError, Model, Needs, Rows
from query.membership.features import labelled, look
from query.membership.labels import both_kinds


@dataclass(frozen=True)
class Cnn:
    """The CNN of Subburam et al. (CLEF 2023 working notes), submission 1: accuracy 0.535 on the task's test images.

    Published are the size, three stages of convolution and max-pooling, two dense layers, ReLU, sigmoid, binary cross-entropy,
    Adam, 10 epochs and the threshold 0.5. Channels, batch and rate are not published; the values here are common ones.

    Attributes:
        size: images are resized to this square, pixels.
        channels: of the three convolutions, 3x3.
        hidden: units of the first dense layer.
        epochs: passes over the labelled images.
        batch: images for one step.
        rate: Adam's.
    """

    size: int = 64
    channels: tuple[int, int, int] = (32, 64, 128)
    hidden: int = 128
    epochs: int = 10
    batch: int = 16
    rate: float = 1e-3
    name = "cnn"
    needs = Needs.LABELS
    looks = True
    views = ()

    def fit(self, case: Case) -> Model:
        """Train on the labelled images; ``arrays`` are the network's state dict."""
        both_kinds(case, self.name)
        rows, used = labelled(case)
        pictures = torch.from_numpy(self._pictures(case.real, rows))
        wanted = torch.from_numpy(used.astype(np.float32))
        with repeatable(case.seed):
            network = self._network()
            optimiser = torch.optim.Adam(network.parameters(), self.rate)
            for _ in range(self.epochs):
                for chosen in torch.split(torch.randperm(len(rows)), self.batch):
                    optimiser.zero_grad()
                    loss = nn.functional.binary_cross_entropy_with_logits(network(pictures[chosen])[:, 0], wanted[chosen])
                    loss.backward()
                    optimiser.step()
        return Model(self.name, state_arrays(network), {"size": self.size})

    def answer(self, case: Case, model: Model) -> Answer:
        """What the network's last unit says of each real image, 0..1."""
        if model.facts["size"] != self.size:
            raise MembershipError(f"this {self.name} model looks at {model.facts['size']} pixels, not {self.size}: fit again")
        value = np.empty(len(case.real))
        with torch.inference_mode(), repeatable(case.seed):  # layers draw their first weights when they are made
            network = self._network()
            load_arrays(network, model)
            pictures = self._pictures(case.real, np.arange(len(case.real)))
            for row, picture in enumerate(pictures):  # alone: the companions in a batch change the last bits
                value[row] = float(torch.sigmoid(network(torch.from_numpy(picture[None])))[0, 0])
        return Answer(value, 0.5, calibrated=True, note="Used where the network, trained on labelled images, gives 0.5 or more.")

    def _network(self) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, after in zip((1, *self.channels), self.channels, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        flat = self.channels[-1] * (self.size // 8) ** 2
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1))

    def _pictures(self, images: Images, rows: Rows) -> NDArray[np.float32]:
        """(n, 1, size, size) float32, 0..1."""

        def shrunk(batch: Any) -> NDArray[np.float32]:
            small = [cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA) for image in batch]
            return np.array(small, np.float32)[:, None] / np.float32(255)

        return np.concatenate(list(look(images, rows, shrunk)))


def state_arrays(network: nn.Module) -> dict[str, NDArray[Any]]:
    """A network's state dict as arrays."""
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def load_arrays(network: nn.Module, model: Model) -> None:
    """Put a model's arrays into a network, and the network into evaluation mode.

    Raises:
        MembershipError: they are of another network.
    """
    try:
        network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in model.arrays.items()})
    except RuntimeError as error:
        raise MembershipError(f"this {model.method} model is of a network with other layers: fit again") from error
    network.eval()
