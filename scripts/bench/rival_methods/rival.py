"""What a rival is: a distance between each real and each generated picture, and perhaps a rule of its own."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]  # (n, h, w) grey
Groups = NDArray[np.generic]  # (n,) patients
Distances = NDArray[np.float32]  # (nr, ng), infinite where a rival does not compare


class NotInstalledError(Exception):
    """A rival needs a package that is not there; the message says which."""


@dataclass(frozen=True)
class Compared:
    """What a rival says.

    Attributes:
        distances: of each real to each generated picture.
        limit: the rival calls a pair a copy where its distance is at most this; None where it has no rule.
    """

    distances: Distances
    limit: float | None = None


class Rival(Protocol):
    """One way to compare. A new one is a class like this in a file of this package, and a line in `rivals.RIVALS`."""

    @property
    def name(self) -> str:
        """As on the command line."""

    def compare(self, real: Pictures, generated: Pictures, groups: Groups) -> Compared:
        """Compare all pairs; what learns, learns from these pictures alone.

        Args:
            real: (nr, h, w).
            generated: (ng, h, w).
            groups: (nr,) patients of the real pictures.

        Raises:
            NotInstalledError: a package is missing.
        """


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> Distances:
    """(n, m) of 1 - cosine."""
    return np.asarray(1 - unit(one) @ unit(other).T, np.float32)


def correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> Distances:
    """(n, m) of 1 - the correlation of two vectors' components."""
    return cosine(one - one.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True))
