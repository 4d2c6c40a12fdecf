"""Look at generated images, some at a time, in this process or elsewhere: each is matched with real images proposed for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.images.errors import ImageError
from embeddings.pipeline import one_thread_each
from embeddings.types import GreyImage
from indexer.collection import Collection
from indexer.execution.executor import Shared
from indexer.search import brute_force
from query.comparison.all_pairs import combined_of_pairs
from query.comparison.bulk import Moments, Scale
from query.comparison.explainer import Explainer
from query.comparison.geometry import Match
from query.comparison.parts import opened
from query.comparison.ranking import ranked_distances
from query.comparison.reductions.sides import RealVectors, ViewVectors
from query.inputs.pictures import Pictures, keypoints_of

_TURNED = 2  # real images that each turned version of an image proposes, by each view
_QUICK = ("pixels", "phash")  # views that need no more than a moment

Combined = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True)
class Source:
    """Where generated images are: their collection, and row -> pixels, which may raise ImageError."""

    collection: Collection
    read: Callable[[int], GreyImage]


def source_at(folder: Path, manifest: str, paths: Mapping[str, Path]) -> Source:
    """A collection that lies at the same path on every machine.

    Args:
        folder: of the collection.
        manifest: SHA-256 (hex) of its manifest: another state of it is refused.
        paths: name -> file, see `query.inputs.pictures.Pictures`.

    Raises:
        CollectionError: it is missing, damaged or another one.
    """
    collection = opened(folder, manifest)
    return Source(collection, Pictures(collection, paths).read)


@dataclass(frozen=True)
class Batch:
    """Some generated images, and what is known of them.

    Attributes:
        source: opens what they are read from.
        rows: (n,) of all generated images.
        inside: (n,) of the source's collection.
        proposed: rows of the real images that each is to be compared with.
        moments: view -> (n,) of their distances to the real images.
        blank: view -> (n,) bool, where it saw nothing.
    """

    source: Callable[[], Source]
    rows: NDArray[np.int64]
    inside: NDArray[np.int64]
    proposed: Sequence[Sequence[int]]
    moments: Mapping[str, Moments]
    blank: Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Look:
    """What was found of one generated image.

    Attributes:
        row: of all generated images.
        real: (n,) int64, real rows that it was compared with; none where it could not be read.
        distances: (n,) float32, see `Matches.distances`.
        values: (n,) float64, see `Matches.values`.
        shown: number of a pair -> what was measured of it: the best one, and those above the threshold.
        failed: why it, or a real image, could not be read.
    """

    row: int
    real: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    distances: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    values: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    shown: Mapping[int, Match] = field(default_factory=dict)
    failed: str = ""


@dataclass(frozen=True)
class Looker:
    """All that is known of the real images; it can be sent to another machine.

    Attributes:
        explainer: compares images with the real ones.
        reals: view -> vectors of the real images.
        moments: view -> (nr,) of their distances to the generated images.
        floor: pairs with a larger value are measured.
        rotations: look for copies by quarter turns.
    """

    explainer: Explainer
    reals: Mapping[str, RealVectors]
    moments: Mapping[str, Moments]
    floor: float
    rotations: bool

    def looks(self, batch: Batch) -> list[Look]:
        """What is found of each image of a batch; it does not depend on the others.

        Raises:
            CollectionError: their collection is missing, damaged or another one.
        """
        source = batch.source()
        combined = partial(combined_of_pairs, self._views(source.collection, batch), self._scales(batch))
        return [self._look(source, batch, combined, place) for place in range(len(batch.rows))]

    def _look(self, source: Source, batch: Batch, combined: Combined, place: int) -> Look:
        row, inside = int(batch.rows[place]), int(batch.inside[place])
        try:
            turned = self._turned(source.collection, source.read(inside)) if self.rotations else []
            image = keypoints_of(source.collection, source.read, inside)
            explained = self.explainer.explain(image, [*batch.proposed[place], *turned])
            inliers, values = explained.inliers, explained.values
            keep = np.flatnonzero((values > self.floor) | (inliers == inliers.max(initial=0)) & (inliers > 0))
            shown = {int(i): self.explainer.measured(explained, int(i)) for i in keep}
            near = combined(explained.rows, np.full(len(explained.rows), place))
            return Look(row, explained.rows, ranked_distances(near, inliers, self.explainer.pursuit(explained)), values, shown)
        except ImageError as error:
            return Look(row, failed=str(error))

    def _views(self, collection: Collection, batch: Batch) -> dict[str, ViewVectors]:
        return {
            view: ViewVectors(
                real.spec, real.vectors, real.flipped, collection.vectors(view)[batch.inside], real.blank, batch.blank[view]
            )
            for view, real in self.reals.items()
        }

    def _scales(self, batch: Batch) -> dict[str, Scale]:
        return {view: Scale(real, batch.moments[view]) for view, real in self.moments.items()}

    def _turned(self, collection: Collection, image: GreyImage) -> list[int]:
        """Rows of real images that the quarter turns of an image propose, by the quick views."""
        found: list[int] = []
        for turns in (1, 2, 3):
            turned = np.ascontiguousarray(np.rot90(image, turns))
            for real in (self.reals[view] for view in _QUICK if view in self.reals):
                vectors = collection.embedder(real.spec.view).embed([turned]).vectors
                found += brute_force.neighbours(real.spec.metric, vectors, real.vectors, _TURNED).rows[0].tolist()
        return [row for row in found if row >= 0]


@dataclass(frozen=True)
class Looking:
    """The piece of work: a batch is looked at by what all of them share."""

    looker: Shared[Looker]

    def __call__(self, batch: Batch) -> list[Look]:
        with one_thread_each():
            return self.looker.value.looks(batch)
