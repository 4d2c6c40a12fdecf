"""Pool: the images of one set or of several, one after the other, as the search for duplicates sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import EmbeddingSpec, GreyImage
from indexer.collection import Collection
from indexer.manifest import CollectionError
from query.comparison.copies import contents
from query.inputs.groups import Given
from query.inputs.images import Images, images_of

if TYPE_CHECKING:
    from embeddings.views.keypoints import Keypoints

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pool:
    """The n images of one or more collections.

    Attributes:
        parts: the collections' images, embedded by the same fitted views.
        sets: (n,) name of the set of each image; empty where it takes no part.
        patients: (n,) patient (group) of each image; empty where nobody named one.
        flipped: the same images flipped left to right, where flipped copies are looked for.

    Raises:
        CollectionError: there is no image, or the parts were embedded differently.
    """

    parts: Sequence[Images]
    sets: NDArray[np.str_]
    patients: NDArray[np.str_]
    flipped: Sequence[Images] = ()

    def __post_init__(self) -> None:
        if not len(self.rows):
            raise CollectionError("no image could be read, so there is nothing to compare; see the failures above")
        for other in [*self.parts[1:], *self.flipped]:
            self.parts[0].stored.comparable(other.stored, self.views)

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views."""
        return self.parts[0].views

    def spec(self, view: str) -> EmbeddingSpec:
        """What the vectors of a view are."""
        return self.parts[0].specs[view]

    @cached_property
    def names(self) -> list[str]:
        """(n,) of the images, each in its own collection."""
        return [name for images in self.parts for name in images.names]

    @cached_property
    def rows(self) -> Rows:
        """Of the images that take part."""
        return np.flatnonzero(self.sets != "")

    @cached_property
    def contents(self) -> list[str]:
        """(n,) what tells the content of each image: equal for images of equal files."""
        return [content for images in self.parts for content in contents(images)]

    @property
    def grouped(self) -> bool:
        """Whether somebody said which images belong to one patient."""
        return bool((self.patients[self.rows] != "").any())

    def vectors(self, view: str, rows: Rows, flipped: bool = False) -> NDArray[Any]:
        """(m, width) of these rows, see `embeddings.types.Embeddings.vectors`: only a part may be in memory."""
        part = np.searchsorted(self._ends, rows, side="right")
        found: NDArray[Any] | None = None
        for place, images in enumerate(self.flipped if flipped else self.parts):
            own = np.flatnonzero(part == place)
            values = images.vectors[view][rows[own] - (int(self._ends[place - 1]) if place else 0)]
            found = np.empty((len(rows), values.shape[1]), values.dtype) if found is None else found
            found[own] = values
        assert found is not None
        return found

    def blank(self, view: str) -> NDArray[np.bool_]:
        """(n,) where the view saw nothing."""
        return np.concatenate([np.asarray(images.blank[view]) for images in self.parts])

    def read(self, row: int) -> GreyImage:
        """The pixels of an image; raises ImageError."""
        images, place = self._place(row, self.parts)
        return images.read(place)

    def picture(self, row: int) -> GreyImage:
        """(64, 64) uint8, the image made small; raises ImageError."""
        images, place = self._place(row, self.parts)
        return images.picture(place)

    def keypoints(self, row: int, flipped: bool = False) -> "Keypoints":
        """What matching needs of an image, or of the flipped one; raises ImageError."""
        images, place = self._place(row, self.flipped if flipped else self.parts)
        return images.keypoints(place)

    def same_patient(self, first: int, second: int) -> bool | None:
        """Whether both images are of one patient; None where nobody named one of them."""
        one, other = self.patients[first], self.patients[second]
        return bool(one == other) if one and other else None

    def where(self, row: int) -> str:
        """``set/image``; the image alone where there is one set, or its name tells the set."""
        name, of_set = self.names[row], f"{self.sets[row]}/"
        return name if self._one_set or name.startswith(of_set) else f"{of_set}{name}"

    @cached_property
    def _one_set(self) -> bool:
        return len(set(self.sets[self.rows].tolist())) == 1

    def _place(self, row: int, parts: Sequence[Images]) -> tuple[Images, int]:
        part = int(np.searchsorted(self._ends, row, side="right"))
        return parts[part], row - (int(self._ends[part - 1]) if part else 0)

    @cached_property
    def _ends(self) -> Rows:
        return np.array(list(accumulate(map(len, self.parts))), np.int64)


def pooled(
    collections: Sequence[Collection], sets: NDArray[np.str_], grouping: Given | None = None, flipped: Sequence[Collection] = ()
) -> Pool:
    """The images of collections.

    Args:
        collections: embedded by the same fitted views.
        sets: see `Pool.sets`.
        grouping: who says which images belong to one patient; a patient has one name in all collections.
        flipped: of each collection the one of the same images flipped left to right.

    Raises:
        CollectionError: see `Pool`.
        GroupsError: groups cannot be had as asked.
    """
    given = grouping(*collections) if grouping else [{} for _ in collections]
    patients = [of.get(name, "") for of, collection in zip(given, collections, strict=True) for name in collection.names]
    parts = [images_of(collection) for collection in collections]
    return Pool(parts, sets, np.array(patients, str), [images_of(each) for each in flipped])
