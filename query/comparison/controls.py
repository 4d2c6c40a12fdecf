"""Controls: real images matched with those of other groups, which they cannot be copies of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.images.errors import ImageError
from embeddings.pipeline import in_order
from indexer.build.build import Progress
from query.comparison.explainer import Explainer
from query.comparison.match_reference import Reference
from query.comparison.proposals import in_turn
from query.comparison.real_keypoints import RealKeypoints
from query.inputs.groups import Groups
from query.inputs.images import Images

CONTROLS = 200  # real images at most that are explained by those of other groups


@dataclass(frozen=True)
class Controls:
    """Explains real images by those of other groups.

    Attributes:
        real: the images.
        keypoints: theirs.
        explainer: who explains them.
        failed: why images could not be read, filled meanwhile.
    """

    real: Images
    keypoints: RealKeypoints
    explainer: Explainer
    failed: set[str] = field(default_factory=set)

    def reference(self, groups: Groups, counts: Sequence[int], progress: Progress) -> Reference:
        """Real images against those of other groups: an even choice by content, so that names and order change nothing.

        The first image of every group comes before the second of any.

        Args:
            groups: of the real images.
            counts: real images that generated ones are compared with, of each; controls take as many.
            progress: called with stage, done, total.
        """
        rows = controls(groups.of_row, self.real.digests).tolist()
        asked = [(row, counts[place % len(counts)]) for place, row in enumerate(rows)]
        values: list[float | None] = []
        for value in in_order(partial(self._value, groups.of_row), asked):
            values.append(value)
            progress("matching real images as controls", len(values), len(rows))
        known = [place for place, value in enumerate(values) if value is not None]
        found = np.array([values[place] for place in known], np.float64)
        return Reference(found, groups.of_row[[rows[place] for place in known]], groups.known)

    def _value(self, groups: NDArray[Any], asked: tuple[int, int]) -> float | None:
        """The largest value of a real image against so many of other groups; None where it is unknown, or it cannot be read."""
        row, count = asked
        own = np.asarray(groups == groups[row])
        if own.all():
            return None
        real = self.real
        near = [real.nearest(view, real.vectors[view][[row]], len(real)).rows[0] for view in real.views]
        others = [rows[(rows >= 0) & ~own[rows]].tolist() for rows in near]  # an approximate index may know fewer
        candidates = in_turn(others, count)
        try:
            value = float(self.explainer.explain(self.keypoints.keypoints(row), candidates, own).values.max(initial=0))
            return value if np.isfinite(value) else None
        except ImageError as error:
            self.failed.add(str(error))
            return None


def controls(groups: NDArray[Any], digests: Sequence[str]) -> NDArray[np.int64]:
    """Rows of at most `CONTROLS` real images, by their contents; the first of each group before the second of any.

    Args:
        groups: (nr,) of each.
        digests: (nr,) of each.
    """
    rows = by_content(digests)
    rows = rows[np.argsort(_place(groups[rows]), kind="stable")]
    return rows[:CONTROLS]


def by_content(digests: Sequence[str]) -> NDArray[np.int64]:
    """Rows in the order of their contents, the first rows of all contents before the second ones."""
    order = np.argsort(np.array(digests, str), kind="stable")
    return np.asarray(order[np.argsort(_place(np.array(digests, str)[order]), kind="stable")], np.int64)


def _place(names: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) how many equal names come before each."""
    order = np.argsort(names, kind="stable")
    _, first, counts = np.unique(names[order], return_index=True, return_counts=True)
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names)) - np.repeat(first, counts)
    return place
