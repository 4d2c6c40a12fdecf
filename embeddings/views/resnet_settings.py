"""Settings of view `resnet`, and what every network of it has in common: where weights come from, how pictures are handed in."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import SynthtraceError

ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101")
BATCH = 32  # always full: another batch size changes the last bits
BUNDLED = Path(__file__).with_name("resnet18_copies.safetensors")
BUNDLED_SHA256 = "b61a41b662a9df12dfbb7f7ceda1208c121e562fda792a83a6fef810a84592b7"
# Of its weights in single precision, see `embeddings.views.whitening.digest`.
BUNDLED_DIGEST = "9f0dd9fb9151af238cd2fea52055fa0420cee8f6bb4958ad12e32d8ad7b82e57"
COPIES = "synthtrace copies"  # key in a file's metadata, of the card: the weights of a `copy_network`
COPY_DIM = 256  # components that a network for copies is trained on


class WeightsError(SynthtraceError):
    """Weights cannot be had or do not fit; the message is one line with the mend."""


@dataclass(frozen=True)
class ResNetSettings:
    """Settings of the view; the values were chosen on procedural benchmarks (docs/NETWORK.md).

    Attributes:
        architecture: one of `ARCHITECTURES`.
        weights: ``bundled``, ``imagenet`` (torchvision's default weights, downloaded by torchvision), ``random:SEED``, or the
            path of a state dict, ``.pth`` or ``.safetensors``.
        size: images are resized to this square, pixels.
        dim: components after whitening.
        power: exponent of the whitening, 1 = full.

    Raises:
        ValueError: a value out of range.
    """

    architecture: str = "resnet18"
    weights: str = "bundled"
    size: int = 144
    dim: int = 256
    power: float = 0.75

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"resnet architecture must be one of {', '.join(ARCHITECTURES)}, got {self.architecture!r}")
        if self.size < 32 or self.dim <= 0 or not 0 <= self.power <= 1:
            raise ValueError(f"resnet: size >= 32, dim > 0, power in 0..1; got {self.size}, {self.dim}, {self.power}")


def check_bundled(path: Path) -> None:
    """Refuse a bundled file that is not what this version came with; other files are the reader's own.

    Raises:
        WeightsError: it was changed.
    """
    if path == BUNDLED and hashlib.sha256(path.read_bytes()).hexdigest() != BUNDLED_SHA256:
        raise WeightsError(f"{path}: not the weights that this version came with; install synthtrace again")


def standardised(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, s, s) -> (n, 1, s, s), each image to mean 0 and spread 1, so that window and gamma count little."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    return np.asarray((images - mean) / (images.std(axis=(1, 2), keepdims=True) + 1e-3))[:, None]
