"""Sides: the real and the generated images of a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embeddings.images.orientation import Orientation
from indexer.collection import Collection
from indexer.manifest import CollectionError
from query.inputs.images import Images, images_of


@dataclass(frozen=True)
class Sides:
    """What is compared. Every later step takes its names, vectors and pixels from here.

    Attributes:
        real, generated: the images, embedded by the same fitted views.
        flipped: the real images flipped left to right, where flipped copies are looked for.

    Raises:
        CollectionError: a side has no image, or the sides were embedded differently.
    """

    real: Images
    generated: Images
    flipped: Images | None = None

    def __post_init__(self) -> None:
        refuse_empty(len(self.real), len(self.generated))
        for images in filter(None, (self.real, self.flipped)):
            if self.generated.collection and images.collection:
                self.generated.collection.comparable(images.collection, self.generated.views)
        if self.flipped is not None and self.flipped.collection is not None and self.real.collection is not None:
            _check_flipped(self.real, self.flipped.collection)

    @property
    def failed(self) -> int:
        """Files of both sides that could not be read."""
        return sum(images.collection.manifest.failed for images in (self.real, self.generated) if images.collection)

    def check_unchanged(self) -> None:
        """See that no file of the collections was changed while results came from them.

        Raises:
            CollectionChanged: one was.
        """
        for images in filter(None, (self.real, self.generated, self.flipped)):
            if images.collection:
                images.collection.check_unchanged()


def sides_of(
    real: Collection,
    generated: Collection,
    mirrored: Collection | None = None,
    *,
    real_paths: Mapping[str, Path] | None = None,
    generated_paths: Mapping[str, Path] | None = None,
) -> Sides:
    """The sides that collections make.

    Args:
        real: embedded by the fitted views of `generated`.
        generated: the generated images.
        mirrored: the real images flipped left to right, to look for flipped copies too.
        real_paths, generated_paths: name -> file, see `query.inputs.images.images_of`.

    Raises:
        CollectionError: see `Sides`.
    """
    flipped = None if mirrored is None else images_of(mirrored, paths=real_paths).at_hand
    return Sides(images_of(real, paths=real_paths).at_hand, images_of(generated, paths=generated_paths), flipped)


def refuse_empty(real: int, generated: int) -> None:
    """Two sides are needed to compare.

    Raises:
        CollectionError: one has no image.
    """
    for role, count in (("real", real), ("generated", generated)):
        if count == 0:
            raise CollectionError(f"no {role} image could be read, so there is nothing to compare; see the failures above")


def _check_flipped(real: Images, flipped: Collection) -> None:
    """Refuse flipped images of others than the real ones.

    Raises:
        CollectionError: they are.
    """
    right = flipped.manifest.orientation == real.stored.manifest.orientation.then(Orientation.FLIP_LEFT_RIGHT)
    if not right or flipped.digests != real.digests:
        raise CollectionError(f"{flipped.folder} does not hold the flipped images of {real.stored.folder}; build it again")
