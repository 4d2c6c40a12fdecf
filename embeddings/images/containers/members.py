"""Members of files that hold many pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embeddings.images.errors import NotAnImage

MEMBERS = 1_000_000  # of one file
BATCH, BATCH_BYTES = 500, 64_000_000  # members told, and bytes hashed, at a time


@dataclass(frozen=True)
class Member:
    """A picture, or an image file, inside a file that holds many.

    Attributes:
        name: within the file, a POSIX path; empty in an .npy file.
        frame: its number in an array; None for an image file.
        frames: of the array.
        sha256: hex, of its bytes; of a frame of an array its dtype and shape count too. Empty where it cannot be read.
        size: bytes.
        reading: how the values of an array are taken, see `embeddings.images.containers.arrays`.
        error: why it cannot be read.
        ignored: it is no image by its name.
    """

    name: str
    frame: int | None = None
    frames: int = 1
    sha256: str = ""
    size: int = 0
    reading: str = ""
    error: str = ""
    ignored: bool = False

    def as_list(self) -> list[Any]:
        """JSON-able values; ``Member(*values)`` reads them back."""
        return list(asdict(self).values())


class Container(Protocol):
    """A file that holds many pictures."""

    def members(self) -> Iterator[Sequence[Member]]:
        """All members, some at a time; an empty batch says that it takes time.

        Raises:
            ImageError: there are no more, because the file is damaged.
        """

    def read(self, name: str) -> bytes:
        """The bytes of an image file in it.

        Raises:
            ImageError: it is not there, or damaged.
        """

    def frame(self, name: str, number: int) -> NDArray[np.generic]:
        """One frame of an array, as stored.

        Raises:
            ImageError: it is not there, or damaged.
        """

    def reading(self, name: str) -> tuple[str, int]:
        """How the values of an array are taken, and its number of frames.

        Raises:
            ImageError: it is not there, or no array of pictures.
        """

    def rest(self) -> None:
        """Let go of what is large and quickly read again."""

    def close(self) -> None:
        """Close the file."""


class NoArray:
    """What holds image files holds no arrays."""

    def rest(self) -> None:
        """As `Container.rest`."""

    def frame(self, name: str, number: int) -> NDArray[np.generic]:
        """As `Container.frame`."""
        raise NotAnImage(f"{name} is no array")

    def reading(self, name: str) -> tuple[str, int]:
        """As `Container.reading`."""
        raise NotAnImage("an archive of images is indexed whole: name one of the images in it")
