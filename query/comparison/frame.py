"""Frame: where a generated image and real ones lie when their tiles are compared."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embeddings.types import GreyImage
from embeddings.views.keypoints import Keypoints
from query.comparison.geometry import aligned, between_pictures
from query.comparison.models import Model

_SURE = 15  # inliers from which a model tells how images lie; chosen on seeds 101 and 102


@dataclass(frozen=True)
class Frame:
    """As the real image with most inliers lies, if its model is sure, else as the generated image itself.

    A generator that moves or turns an image made of several real ones moves all of them alike. All pictures are (64, 64).

    Attributes:
        generated: keypoints of the generated image.
        back: (3, 3) float64, from pixels of its picture to those of the frame.
    """

    generated: Keypoints
    back: NDArray[np.float64]

    @classmethod
    def of(cls, generated: Keypoints, best: Keypoints | None = None, model: Model | None = None) -> Self:
        """By the model that lays the real image with most inliers over the generated one; None if there is none."""
        if best is None or model is None or model.transform is None or model.inliers < _SURE:
            return cls(generated, np.eye(3))
        return cls(generated, np.asarray(np.linalg.inv(between_pictures(best, generated, model.transform)), np.float64))

    @property
    def picture(self) -> GreyImage:
        """The generated image in the frame; black where it shows nothing."""
        return _laid(self.generated.picture, self.back)

    def real(self, real: Keypoints, model: Model) -> GreyImage | None:
        """A real image laid by its own model; None where that is not sure: enough points must agree on it."""
        if model.transform is None or model.inliers < _SURE:
            return None
        return _laid(real.picture, self.back @ between_pictures(real, self.generated, model.transform))


def _laid(picture: GreyImage, transform: NDArray[np.float64]) -> GreyImage:
    return aligned(picture, picture, transform[:2])
