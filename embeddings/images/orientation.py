"""The eight ways to turn or flip a picture."""

from enum import StrEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)
AUTO = "auto"  # asks for what `query.comparison.orientation` finds, instead of an orientation


class Orientation(StrEnum):
    """A turn or flip, named as in Pillow's `Image.Transpose`; turns are counterclockwise."""

    AS_IS = "as-is"
    ROTATE_90 = "rotate-90"
    ROTATE_180 = "rotate-180"
    ROTATE_270 = "rotate-270"
    FLIP_LEFT_RIGHT = "flip-left-right"
    FLIP_TOP_BOTTOM = "flip-top-bottom"
    TRANSPOSE = "transpose"
    TRANSVERSE = "transverse"

    def apply(self, image: NDArray[T]) -> NDArray[T]:
        """The picture turned or flipped: (H, W) to (H, W) or (W, H), C order."""
        turns, flipped = _TURNS_AND_FLIP[self]
        return np.ascontiguousarray(np.rot90(image[:, ::-1] if flipped else image, turns))

    def then(self, other: "Orientation") -> "Orientation":
        """The one that does what this and then the other does."""
        turns, flipped = _TURNS_AND_FLIP[self]
        more, again = _TURNS_AND_FLIP[other]
        together = ((more - turns if again else more + turns) % 4, flipped != again)
        return next(each for each, does in _TURNS_AND_FLIP.items() if does == together)


# quarter turns counterclockwise, after a flip left to right
_TURNS_AND_FLIP = {
    Orientation.AS_IS: (0, False),
    Orientation.ROTATE_90: (1, False),
    Orientation.ROTATE_180: (2, False),
    Orientation.ROTATE_270: (3, False),
    Orientation.FLIP_LEFT_RIGHT: (0, True),
    Orientation.TRANSPOSE: (1, True),
    Orientation.FLIP_TOP_BOTTOM: (2, True),
    Orientation.TRANSVERSE: (3, True),
}
