"""Match one generated image: its candidates, then the real images that explain most of what the best one leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.views.keypoints import Keypoints
from query.comparison import geometry
from query.comparison.frame import Frame
from query.comparison.geometry import Match
from query.comparison.models import Model, models
from query.comparison.pursuit import Pursuit
from query.comparison.real_keypoints import RealKeypoints
from query.comparison.real_tiles import RealTiles
from query.comparison.tiles import Vectors

# Chosen on benchmarks from seeds 101 to 103 (docs/METHODS.md).
FLOOR = 10  # inliers that unrelated images often reach: below it, they tell nothing
PANEL = 8  # real images that tell on how many points an image agrees with any
_PSEUDO = 3.0  # inliers added to that: with next to none, a handful more means nothing
FURTHER = 8  # real images that explain most of what remains
_FEWEST = 4  # real images of a panel that tell something
_EXPLAINED = 8  # inliers from which a real image is taken away
_KEPT = 2000  # real images whose keypoints stay in memory, about 0.06 MB each


@dataclass(frozen=True)
class Explained:
    """What is known of one generated image.

    Attributes:
        rows: (n,) int64, real images that were compared.
        models: of each; with flipped images the one with more inliers.
        flipped: of each, whether the model belongs to the flipped real image.
        generated: keypoints of the image.
        usual: inliers with real images that nobody proposed: the upper quartile of a panel; NaN where that is too small.
        frame: where tiles are compared.
        tiles: (places, width) float32, what the tiles of the image show there.
    """

    rows: NDArray[np.int64]
    models: Sequence[Model]
    flipped: Sequence[bool]
    generated: Keypoints
    usual: float
    frame: Frame
    tiles: Vectors

    @property
    def inliers(self) -> NDArray[np.float64]:
        """(n,) of each model."""
        return np.array([model.inliers for model in self.models], np.float64)

    @property
    def values(self) -> NDArray[np.float64]:
        """(n,) inliers over what is usual for this image, NaN where that is unknown.

        An image with many keypoints agrees with any other on more points than one with few.
        """
        return self.inliers / (self.usual + _PSEUDO)


class Explainer:
    """Compares images with the real ones. Safe from several threads; it can be sent to another machine.

    Args:
        real: keypoints of the real images.
        tiles: theirs.
        panel: rows that every image is compared with besides, see `panel_of`.
        flipped: the real images flipped left to right, to look for flipped copies too.
        device: where descriptors are compared.
    """

    def __init__(
        self,
        real: RealKeypoints,
        tiles: RealTiles,
        panel: Sequence[int] = (),
        flipped: RealKeypoints | None = None,
        device: str = "cpu",
    ) -> None:
        self._made_with = real, tiles, panel, flipped, device
        self._tiles, self._panel, self._mirror, self._device = tiles, panel, flipped is not None, device
        self._keypoints = lru_cache(maxsize=_KEPT)(real.keypoints)
        self._flipped = lru_cache(maxsize=_KEPT)((flipped or real).keypoints)

    def __reduce__(self) -> tuple[Any, ...]:
        return Explainer, self._made_with

    def explain(self, generated: Keypoints, candidates: Sequence[int], excluded: NDArray[np.bool_] | None = None) -> Explained:
        """The image against the candidates, and against those that explain what the best of them leaves.

        Args:
            generated: its keypoints.
            candidates: rows of real images.
            excluded: (nr,) bool, real images that do not count.

        Raises:
            ImageError: a real image cannot be read.
        """
        candidates, panel = _those(candidates, excluded), _those(self._panel, excluded)
        found = self._models([*candidates, *panel], generated)
        usual = _usual([found[row][0].inliers for row in panel])
        found = {row: found[row] for row in candidates}
        best = max(found, key=lambda row: found[row][0].inliers, default=None)
        if best is None:
            frame, first = Frame.of(generated), None
        else:
            model, mirrored = found[best]
            frame = Frame.of(generated, self._side(best, mirrored), model)
            first = self._tiles.of_rows([best], [mirrored])[:, 0] if model.inliers >= _EXPLAINED else None
        tiles = self._tiles.tiles.of([frame.picture])[:, 0]
        further = self._tiles.further(tiles, first, FURTHER, excluded) if len(generated.places) else []
        found |= self._models([row for row in further if row not in found], generated)
        rows = sorted(found)
        best_models, flipped = [found[row][0] for row in rows], [found[row][1] for row in rows]
        return Explained(np.array(rows, np.int64), best_models, flipped, generated, usual, frame, tiles)

    def pursuit(self, explained: Explained) -> Pursuit:
        """Who of the compared real images explains what of the tiles, each laid where its own model says, if that is sure."""
        rows, flipped = explained.rows.tolist(), explained.flipped
        sides = self._tiles.of_rows(rows, flipped)
        reals = [self._side(row, mirrored) for row, mirrored in zip(rows, flipped, strict=True)]
        laid = [explained.frame.real(real, model) for real, model in zip(reals, explained.models, strict=True)]
        if over := {number: picture for number, picture in enumerate(laid) if picture is not None}:
            sides[:, list(over)] = self._tiles.tiles.of(list(over.values()))
        return Pursuit(explained.tiles, sides)

    def measured(self, explained: Explained, number: int) -> Match:
        """What is alike of the image and its compared real image of that number."""
        model, flipped = explained.models[number], explained.flipped[number]
        side = self._side(int(explained.rows[number]), flipped)
        return geometry.measured(side, explained.generated, model, mirrored=flipped)

    def _models(self, rows: Sequence[int], generated: Keypoints) -> dict[int, tuple[Model, bool]]:
        """The better model of each real image, and whether it is that of the flipped one."""
        rows = list(dict.fromkeys(rows))
        sides = [self._keypoints(row) for row in rows] + [self._flipped(row) for row in rows if self._mirror]
        made = models(sides, generated, self._device)
        plain, flipped = made[: len(rows)], made[len(rows) :] or made
        return {
            row: (other, True) if other.inliers > own.inliers else (own, False)
            for row, own, other in zip(rows, plain, flipped, strict=True)
        }

    def _side(self, row: int, flipped: bool) -> Keypoints:
        return self._flipped(row) if flipped else self._keypoints(row)


def panel_of(contents: Sequence[str], groups: NDArray[np.generic]) -> list[int]:
    """At most 8 rows of different groups, the first by content, so that names and order of files change nothing.

    Args:
        contents: hash of each real image.
        groups: (nr,) of each.
    """
    first: dict[object, int] = {}
    for row in np.argsort(np.array(contents, str), kind="stable").tolist():
        first.setdefault(groups[row], row)
    return list(first.values())[:PANEL]


def _usual(inliers: Sequence[int]) -> float:
    """The upper quartile of a panel's; NaN where that is too small."""
    return float(np.quantile(inliers, 0.75)) if len(inliers) >= _FEWEST else float("nan")


def _those(rows: Sequence[int], excluded: NDArray[np.bool_] | None) -> list[int]:
    """Each row once, in order, without those that do not count."""
    return [row for row in dict.fromkeys(rows) if excluded is None or not excluded[row]]
