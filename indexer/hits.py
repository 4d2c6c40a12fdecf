"""Hits: the nearest images of a collection for images from outside."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, overload

import numpy as np

from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding, frame_name
from embeddings.images.errors import ImageError
from embeddings.types import GreyImage

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image as Picture

    from indexer.collection import Collection

OneImage = Union[str, Path, GreyImage, "Picture"]
Images = OneImage | Sequence[OneImage]


_WANTED = "a path, an array (H, W) of uint8 or a Pillow image"


@dataclass(frozen=True)
class Hit:
    """One neighbour of an image.

    Attributes:
        image: name of the image that was looked up.
        view: which view found it.
        rank: from 1.
        name: of the neighbour.
        row: of the neighbour in the collection.
        distance: bits for ``phash``, cosine distance for other views, standard deviations for
            ``combined-lookup``, which stand among the candidates of this image alone: not those of a run's ``combined``.
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
    """Hits in order: image by image, view by view, nearest first. A notebook shows the first with pictures.

    Args:
        hits: in that order.
        asked: name of an image that was looked up -> its pixels, (H, W) uint8, for notebooks.
        collection: where they were found, likewise.
    """

    def __init__(
        self,
        hits: Sequence[Hit],
        asked: Mapping[str, GreyImage] | None = None,
        collection: "Collection | None" = None,
    ) -> None:
        self._hits = tuple(hits)
        self._asked = asked or {}
        self._collection = collection

    def __len__(self) -> int:
        return len(self._hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> "Hits": ...
    def __getitem__(self, index: int | slice) -> "Hit | Hits":
        return Hits(self._hits[index], self._asked, self._collection) if isinstance(index, slice) else self._hits[index]

    def __repr__(self) -> str:
        return f"Hits({list(self._hits)!r})"

    def _repr_html_(self) -> str:
        from indexer.notebook import hits_html

        return hits_html(self._hits, self._asked, self._collection)

    def to_pandas(self) -> "pd.DataFrame":
        """A row for each hit, columns as the attributes of `Hit`."""
        import pandas as pd

        return pd.DataFrame([hit.as_dict() for hit in self._hits], columns=list(Hit.__dataclass_fields__))


def positive(k: Any) -> int:
    """The number of neighbours asked for.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is below 1.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"k must be a whole number of at least 1, got {k!r}")
    if k < 1:
        raise ValueError(f"k must be a whole number of at least 1, got {k}")
    return int(k)


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
        images: a file, an array (H, W) uint8, a Pillow image, or several of these.

    Raises:
        ImageError: a file cannot be read, or an array is not (H, W) uint8; the text names it.
        TypeError: what is given is none of these; the text says which.
    """
    alone = isinstance(images, str | Path | np.ndarray) or _is_picture(images)
    if (not alone and not isinstance(images, Iterable)) or isinstance(images, bytes | Mapping):
        raise TypeError(f"images must be {_WANTED}, or a list of these; got {type(images).__name__}")
    several: Any = images
    inputs = [images] if alone else list(several)
    pixels: list[GreyImage] = []
    names: list[str] = []
    for number, image in enumerate(inputs):
        if _is_picture(image):
            pixels.append(_grey(image, decoding, number))
            names.append(str(getattr(image, "filename", "")) or f"image {number}")
            continue
        if not isinstance(image, str | Path | np.ndarray):
            raise TypeError(f"image {number} must be {_WANTED}; got {type(image).__name__}")
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


def _is_picture(image: Any) -> bool:
    """Whether it is a Pillow image; where Pillow is not loaded, there is none."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(image, pillow.Image)


def _grey(image: Any, decoding: Decoding, number: int) -> GreyImage:
    """The pixels of a Pillow image, as those of a file.

    Raises:
        ImageError: it cannot become grey.
    """
    from PIL import ImageOps

    from embeddings.images.formats import as_image_error, grey

    try:
        return grey(ImageOps.exif_transpose(image), decoding)
    except Exception as error:  # a lazily opened file may hold anything
        known = error if isinstance(error, ImageError) else as_image_error(error)
        raise type(known)(f"image {number}: {known}") from error
