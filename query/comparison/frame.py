"""Frame: where a generated image and real ones lie when their tiles are compared."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embeddings.types import GreyImage
from query.comparison import geometry
from query.comparison.models import Model

_SURE = 15  # inliers from which a model tells how images lie; chosen on seeds 101 and 102


@dataclass(frozen=True)
class Frame:
    """As the real image with most inliers lies, if its model is sure, else as the generated image itself.

    A generator that moves or turns an image made of several real ones moves all of them alike.

    Attributes:
        back: (3, 3) float64, from pixels of the generated image to those of the frame.
        canvas: any image of its size.
    """

    back: NDArray[np.float64]
    canvas: GreyImage

    @classmethod
    def of(cls, generated: GreyImage, best: GreyImage | None = None, model: Model | None = None) -> Self:
        """By the model that lays the real image with most inliers over the generated one; None if there is none."""
        transform = None if model is None else _sure(model)
        if best is None or transform is None:
            return cls(np.eye(3), generated)
        return cls(np.asarray(np.linalg.inv(transform), np.float64), best)

    def generated(self, image: GreyImage) -> GreyImage:
        """The generated image in the frame; black where it shows nothing."""
        return geometry.aligned(image, self.canvas, self.back[:2])

    def real(self, image: GreyImage, model: Model) -> GreyImage | None:
        """A real image laid by its own model; None where that is not sure."""
        transform = _sure(model)
        return None if transform is None else geometry.aligned(image, self.canvas, (self.back @ transform)[:2])


def _sure(model: Model) -> NDArray[np.float64] | None:
    """(3, 3) of a model that enough points agree on."""
    return None if model.transform is None or model.inliers < _SURE else np.vstack([model.transform, [0, 0, 1]])
