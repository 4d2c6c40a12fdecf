"""Images: one side of a comparison, as every view sees it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embeddings.types import Embedder, EmbeddingSpec, GreyImage
from indexer.collection import Collection
from indexer.salt import Salt
from indexer.search import brute_force
from indexer.sharded.joined import Joined
from indexer.types import Neighbours
from query.inputs.pictures import Pictures, keypoints_of, picture_of
from query.inputs.text_column import TextColumn

if TYPE_CHECKING:
    from embeddings.views.keypoints import Keypoints


@dataclass(frozen=True)
class Images:
    """Images of one side: real, generated, or real and flipped.

    Attributes:
        names: of each image.
        specs: view -> what its vectors are.
        vectors: view -> (n, width), see `Embeddings.vectors`.
        blank: view -> (n,) bool, where the view saw nothing.
        read: row -> its pixels, (H, W) uint8; raises ImageError.
        embedders: view -> its embedder; its `features` do not depend on what the view learned from one collection.
        collection: where they are stored; None where they are at hand only, and then searched by comparing all.
        paths: name -> file, where that is not what the collection says, see `query.inputs.pictures.Pictures`.
    """

    names: Sequence[str]
    specs: Mapping[str, EmbeddingSpec]
    vectors: Mapping[str, NDArray[Any]]
    blank: Mapping[str, NDArray[np.bool_]]
    read: Callable[[int], GreyImage]
    embedders: Mapping[str, Embedder] = field(default_factory=dict)
    collection: Collection | None = None
    paths: Mapping[str, Path] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def stored(self) -> Collection:
        """The collection.

        Raises:
            ValueError: the images are at hand only.
        """
        if self.collection is None:
            raise ValueError("these images are stored in no collection")
        return self.collection

    @property
    def digests(self) -> list[str]:
        """What tells the content of each image, see `indexer.collection.Collection.digests`.

        Raises:
            ValueError: the images are at hand only.
        """
        return self.stored.digests

    @property
    def patients(self) -> list[str]:
        """Of each image, hashed, empty where its file names none; see `indexer.collection.Collection.patients`.

        Raises:
            ValueError: the images are at hand only.
        """
        return self.stored.patients

    @property
    def salt(self) -> Salt:
        """What patients are hashed with.

        Raises:
            ValueError: the images are at hand only.
        """
        return self.stored.salt

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views."""
        return tuple(self.specs)

    @property
    def at_hand(self) -> "Images":
        """The same with vectors in one array each, where they lie in shards, and names as a list: real images are few."""
        return replace(
            self, names=list(self.names), vectors={view: np.asarray(vectors) for view, vectors in self.vectors.items()}
        )

    def take(self, rows: NDArray[np.int64]) -> "Images":
        """These rows, in this order."""
        return replace(
            self,
            names=[self.names[row] for row in rows.tolist()],
            vectors={view: vectors[rows] for view, vectors in self.vectors.items()},
            blank={view: blank[rows] for view, blank in self.blank.items()},
            read=lambda row: self.read(int(rows[row])),
            collection=None,
        )

    def keypoints(self, row: int) -> "Keypoints":
        """What matching needs of the image of a row: from the collection where that keeps it, else from its pixels.

        Raises:
            ImageError: as of `read`.
        """
        return keypoints_of(self.collection, self.read, row)

    def picture(self, row: int) -> GreyImage:
        """(64, 64) uint8, the image of a row made small: from the collection where that keeps it, else from its pixels.

        Raises:
            ImageError: as of `read`.
        """
        return picture_of(self.collection, self.read, row)

    def path(self, row: int) -> Path:
        """Where the image of a row was when it was indexed; its name where nothing is stored."""
        return self.collection.path(row) if self.collection else Path(self.names[row])

    def nearest(self, view: str, queries: NDArray[Any], k: int, device: str = "cpu") -> Neighbours:
        """The k nearest rows of each query vector, by the collection's index where there is one.

        Raises:
            CollectionChanged: a file of the collection was changed meanwhile.
        """
        if self.collection is not None:
            return self.collection.nearest(view, queries, k, device)
        return brute_force.neighbours(self.specs[view].metric, queries, self.vectors[view], k)

    def cuts(self, size: int) -> list[slice]:
        """All rows, at most `size` at a time; those of one shard at once, where there are shards."""
        ends = self.collection.offsets.tolist() if isinstance(self.collection, Joined) else [0, len(self)]
        return [slice(start, min(start + size, stop)) for first, stop in pairwise(ends) for start in range(first, stop, size)]

    def release(self) -> None:
        """See `Collection.release`."""
        if self.collection is not None:
            self.collection.release()

    def exact(self, view: str) -> bool:
        """Whether `nearest` finds what comparing all finds."""
        return self.collection is None or self.collection.is_exact(view)


def images_of(
    collection: Collection, read: Callable[[int], GreyImage] | None = None, paths: Mapping[str, Path] | None = None
) -> Images:
    """The images of a collection.

    Args:
        collection: where they are stored.
        read: row -> pixels; None to read the files again, see `query.inputs.pictures.Pictures`.
        paths: name -> file, where images lie elsewhere by now, or their names are not valid UTF-8.

    Raises:
        CollectionError: a file of the collection is damaged.
    """
    views = collection.views
    return Images(
        names=TextColumn(collection.images["name"]),
        specs={view: collection.spec(view) for view in views},
        vectors={view: collection.vectors(view) for view in views},
        blank={view: collection.blank(view) for view in views},
        read=read or Pictures(collection, paths).read,
        embedders=_Embedders(collection),
        collection=collection,
        paths=paths or {},
    )


class _Embedders(Mapping[str, Any]):
    """View -> embedder, made when it is first asked for: most methods need none, and a network takes a second to load."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def __getitem__(self, view: str) -> Any:
        if view not in self._collection.views:
            raise KeyError(view)
        return self._collection.embedder(view)

    def __iter__(self) -> Iterator[str]:
        return iter(self._collection.views)

    def __len__(self) -> int:
        return len(self._collection.views)
