"""One generated image, explained by real ones: candidates are matched, the best is taken away, what remains is asked again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from embeddings.types import GreyImage
from indexer.collection import Collection
from query import verify
from query.verify import Keypoints, Match, Model

# Chosen on benchmarks from seeds 101 to 103 (docs/METHODS.md).
FLOOR = 10  # inliers that unrelated images often reach: below it, a value tells nothing
FURTHER = 5  # real images that what remains proposes, by each view
_TURNED = 2  # real images that each turned version of an image proposes, by each view
_QUICK = ("pixels", "phash")  # views that need no more than a moment
_EXPLAINED = 8  # inliers from which a real image is taken away
_KEPT = 2000  # real images whose keypoints stay in memory, about 0.3 MB each

Read = Callable[[int], GreyImage]


@dataclass(frozen=True)
class Explained:
    """What is known of one generated image.

    Attributes:
        rows: (n,) int64, real images that were compared.
        models: of each the one with more inliers: of the image, or of what remained of it.
        flipped: of each, whether the model belongs to the flipped real image.
        generated: keypoints of the image.
    """

    rows: NDArray[np.int64]
    models: Sequence[Model]
    flipped: Sequence[bool]
    generated: Keypoints

    @property
    def values(self) -> NDArray[np.float64]:
        """(n,) inliers."""
        return np.array([model.inliers for model in self.models], np.float64)


class Explainer:
    """Compares images with the real ones of a collection. Safe from several threads.

    Args:
        real: the collection.
        read: a row of it to its pixels, (H, W) uint8; may raise ImageError.
        mirror: look for flipped copies too.
        turned: look for copies by quarter turns too. Any turn of a candidate is found anyway: this lets turned images propose.
    """

    def __init__(self, real: Collection, read: Read, *, mirror: bool = False, turned: bool = False) -> None:
        self._real, self._mirror, self._turned = real, mirror, turned
        self._keypoints = lru_cache(maxsize=_KEPT)(lambda row: verify.keypoints(read(row)))
        self._flipped = lru_cache(maxsize=_KEPT)(lambda row: verify.keypoints(verify.flip(read(row))))

    def explain(self, image: GreyImage, candidates: Sequence[int], excluded: NDArray[np.bool_] | None = None) -> Explained:
        """The image against the candidates, and against those that its remainder proposes.

        Args:
            image: (H, W) uint8.
            candidates: rows of real images.
            excluded: (nr,) bool, real images that do not count.

        Raises:
            ImageError: a real image cannot be read.
        """
        generated = verify.keypoints(image)
        if self._turned:
            more = [row for turns in (1, 2, 3) for row in self._near(np.rot90(image, turns), _TURNED)]
            candidates = [*candidates, *more]
        found = {row: self._model(row, generated) for row in _those(candidates, excluded)}
        best = max(found, key=lambda row: found[row][0].inliers, default=None)
        if best is not None and found[best][0].inliers >= _EXPLAINED:
            rest = verify.remainder(generated, self._side(best, found[best][1]), found[best][0])
            for row in _those(self._near(rest, FURTHER), excluded):
                found.setdefault(row, self._model(row, generated))
            remaining = verify.keypoints(rest)
            for row in found.keys() - {best}:
                found[row] = max(found[row], self._model(row, remaining), key=lambda pair: pair[0].inliers)
        rows = sorted(found)
        return Explained(np.array(rows, np.int64), [found[r][0] for r in rows], [found[r][1] for r in rows], generated)

    def measured(self, explained: Explained, number: int) -> Match:
        """What is alike of the image and its compared real image of that number."""
        model, flipped = explained.models[number], explained.flipped[number]
        side = self._side(int(explained.rows[number]), flipped)
        return verify.measured(side, explained.generated, model, mirrored=flipped)

    def _model(self, row: int, generated: Keypoints) -> tuple[Model, bool]:
        """The better model of a real image, and whether it is that of the flipped one."""
        plain = verify.model(self._keypoints(row), generated)
        if self._mirror and (turned := verify.model(self._flipped(row), generated)).inliers > plain.inliers:
            return turned, True
        return plain, False

    def _side(self, row: int, flipped: bool) -> Keypoints:
        return self._flipped(row) if flipped else self._keypoints(row)

    def _near(self, image: GreyImage, count: int) -> list[int]:
        """The nearest real images of pixels, by the quick views of the collection."""
        found: list[int] = []
        for view in self._quick:
            found += (
                self._real.search(view, self._real.embed(view, [np.ascontiguousarray(image)]).vectors, count).rows[0].tolist()
            )
        return [row for row in found if row >= 0]

    @cached_property
    def _quick(self) -> list[str]:
        return [view for view in _QUICK if view in self._real.views]


def _those(rows: Sequence[int], excluded: NDArray[np.bool_] | None) -> list[int]:
    """Each row once, in order, without those that do not count."""
    return [row for row in dict.fromkeys(rows) if excluded is None or not excluded[row]]
