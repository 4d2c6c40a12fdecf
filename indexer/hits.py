"""Hits: the nearest images of a collection for images from outside."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding, frame_name
from embeddings.images.errors import ImageError
from embeddings.types import GreyImage

if TYPE_CHECKING:
    import pandas as pd

Images = str | Path | GreyImage | Sequence[str | Path | GreyImage]


@dataclass(frozen=True)
class Hit:
    """One neighbour of an image.

    Attributes:
        image: name of the image that was looked up.
        view: which view found it.
        rank: from 1.
        name: of the neighbour.
        row: of the neighbour in the collection.
        distance: bits for ``phash``, cosine distance for other views, standard deviations for ``combined``.
        mirrored: the flipped image was the nearer one.
        blank: one of the two images is blank in this view: the distance is no evidence.
    """

    image: str
    view: str
    rank: int
    name: str
    row: int
    distance: float
    mirrored: bool
    blank: bool

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)


class Hits(Sequence[Hit]):
    """Hits in order: image by image, view by view, nearest first.

    Args:
        hits: in that order.
    """

    def __init__(self, hits: Sequence[Hit]) -> None:
        self._hits = tuple(hits)

    def __len__(self) -> int:
        return len(self._hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> "Hits": ...
    def __getitem__(self, index: int | slice) -> "Hit | Hits":
        return Hits(self._hits[index]) if isinstance(index, slice) else self._hits[index]

    def __repr__(self) -> str:
        return f"Hits({list(self._hits)!r})"

    def to_pandas(self) -> "pd.DataFrame":
        """A row for each hit, columns as the attributes of `Hit`."""
        import pandas as pd

        return pd.DataFrame([hit.as_dict() for hit in self._hits], columns=list(Hit.__dataclass_fields__))


def frames_of(path: str | Path, decoding: Decoding) -> list[tuple[str, GreyImage]]:
    """Name and pixels of every frame of an image file.

    Raises:
        ImageError: the file cannot be read.
    """
    frames = [frame.pixels for frame in decode(Path(path), decoding)]
    return [(frame_name(str(path), number, len(frames)), pixels) for number, pixels in enumerate(frames)]


def read(decoding: Decoding, images: Images) -> tuple[list[GreyImage], list[str]]:
    """Decoded images and their names; each frame of a file is one.

    Args:
        decoding: how pixels become grey.
        images: a file, an array (H, W) uint8, or several of either.

    Raises:
        ImageError: a file cannot be read, or an array is not (H, W) uint8; the text names it.
    """
    inputs = [images] if isinstance(images, str | Path | np.ndarray) else list(images)
    pixels: list[GreyImage] = []
    names: list[str] = []
    for number, image in enumerate(inputs):
        if isinstance(image, np.ndarray):
            if image.ndim != 2 or image.dtype != np.uint8 or not image.size:
                raise ImageError(f"image {number} must be an array (H, W) of uint8, got {image.shape} of {image.dtype}")
            pixels.append(np.ascontiguousarray(image))
            names.append(f"array {number}")
            continue
        try:
            frames = frames_of(image, decoding)
        except ImageError as error:
            raise type(error)(f"{image}: {error}") from error
        names += [name for name, _ in frames]
        pixels += [frame for _, frame in frames]
    return pixels, names
