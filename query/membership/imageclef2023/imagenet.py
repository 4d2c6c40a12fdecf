"""Features of the ImageNet networks that Bharathi et al. used: 224 pixels, global maximum, neither centred nor whitened."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from embeddings.types import GreyImage
from embeddings.views.network import load
from embeddings.views.resnet_settings import ResNetSettings
from query.inputs.images import Images
from query.membership.case import Case, MembershipError, Model, Rows
from query.membership.features import drawn, look
from query.membership.imageclef2023.svm import Svm

VARIABLE = "SYNTHTRACE_PUBLISHED_WEIGHTS"  # names the folder of the weights
SIZE = 224
HASHES = {"resnet50": "0676ba61", "resnet101": "63fe2227"}  # how the SHA-256 of torchvision's IMAGENET1K_V1 files begins


@dataclass(frozen=True)
class ImageNet:
    """Features (n, 2048) as the team's notebooks make them, but by torchvision's weights in place of those of Keras.

    Grey pictures are brought to 224 pixels by the nearest neighbour (Keras's default) and to 0..1, three times over, without
    ImageNet's mean and spread; the last maps are pooled by their maximum. The paper says mean; both notebooks say maximum.

    Attributes:
        architecture: ``resnet50`` or ``resnet101``.
    """

    architecture: str
    views = ()

    def real(self, case: Case, rows: Rows) -> NDArray[np.float32]:
        """See `query.membership.features.Eye`; those of all real images are kept with the case."""
        every = np.arange(len(case.real))
        features: NDArray[np.float32] = case.once(f"{self.architecture} real", lambda: self._seen(case.real, every))[rows]
        return features

    def generated(self, case: Case, count: int) -> NDArray[np.float32]:
        """See `query.membership.features.Eye`; they are kept with the case."""

        def make() -> NDArray[np.float32]:
            return self._seen(case.generated, drawn(case.generated, count, case.seed))

        return case.once(f"{self.architecture} generated {count}", make)

    def facts(self, case: Case) -> dict[str, Any]:
        """See `query.membership.features.Eye`."""
        return {"architecture": self.architecture, "weights": HASHES[self.architecture], "size": SIZE}

    def check(self, case: Case, model: Model) -> None:
        """See `query.membership.features.Eye`."""
        if model.facts["features"] != self.facts(case):
            raise MembershipError(f"this {model.method} model is of other features, {model.facts['features']}: fit again")

    def _seen(self, images: Images, rows: Rows) -> NDArray[np.float32]:
        network = load(ResNetSettings(self.architecture, str(weights(self.architecture)), SIZE))
        network.avgpool = nn.AdaptiveMaxPool2d(1)

        def see(batch: Sequence[GreyImage]) -> list[NDArray[np.float32]]:
            with torch.inference_mode():  # one by one, so that no image depends on its companions
                return [network(picture(each))[0].numpy() for each in batch]

        return np.array([features for part in look(images, rows, see) for features in part], np.float32)


def published_svm() -> Svm:
    """Method `svm-published`: `Svm` on features of an ImageNet ResNet-101, all voting that the team had to learn from."""
    return Svm(eye=ImageNet("resnet101"))


def picture(image: GreyImage) -> torch.Tensor:
    """(1, 3, 224, 224) float32, 0..1."""
    small = np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.NEAREST), np.float32)
    return torch.from_numpy(small / np.float32(255)).expand(1, 3, SIZE, SIZE)


def weights(architecture: str) -> Path:
    """The file of weights in the folder that the environment names.

    Raises:
        MembershipError: there is none, or it is another one; says where to get it.
    """
    name = f"{architecture}-{HASHES[architecture]}.pth"
    path = Path(os.environ.get(VARIABLE, "")) / name
    mend = (
        f"get https://download.pytorch.org/models/{name} (its SHA-256 begins with {HASHES[architecture]}) and set {VARIABLE} to "
        "its folder"
    )
    if not os.environ.get(VARIABLE):
        raise MembershipError(f"the published methods need ImageNet weights, which do not come with synthtrace: {mend}")
    if not path.is_file():
        raise MembershipError(f"{path}: no such file; {mend}")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(HASHES[architecture]):
        raise MembershipError(f"{path}: another file, its SHA-256 begins with {found[:8]}; {mend}")
    return path
