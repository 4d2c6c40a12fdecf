"""Match the candidate pairs of a run geometrically: budget, calibrated threshold, re-ranking, into the database.

Generated images are matched with real ones (`query.comparison.explainer`), the most suspicious first. As a control, real images
are matched with those of other groups, which they cannot be copies of.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.images.errors import ImageError
from embeddings.pipeline import in_order, workers
from indexer.build.build import Progress, silent
from indexer.device import Device
from query.comparison.all_pairs import combined_of_pairs
from query.comparison.combined import COMBINED
from query.comparison.comparison import Comparison
from query.comparison.explainer import Explainer, panel_of
from query.comparison.geometry import Match
from query.comparison.match_reference import Reference
from query.comparison.ranking import ranked_distances
from query.comparison.real_tiles import RealTiles
from query.comparison.search import ViewResult, view_vectors
from query.inputs.groups import Groups
from query.inputs.sides import Sides

MATCHED = "matched"
SCORE = "match"
CANDIDATES = 10
CONTROLS = 200  # real images at most that are explained by those of other groups
_BATCH = 32  # images for each core between two looks at the clock


@dataclass(frozen=True)
class Budget:
    """How much to look at: seconds, or a number of generated images; without either, all.

    A number gives the same result on every machine; with seconds, a slower one gets less far.
    """

    seconds: float | None = None
    images: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """From ``all``, a number of generated images, or a time such as ``90s`` or ``2m``; ``0`` is nothing.

        Raises:
            ValueError: it is none of them.
        """
        found = re.fullmatch(r"(all)|(\d+)|(\d+(?:\.\d+)?)([sm])", text.strip())
        if not found:
            raise ValueError(f"expected all, a number of generated images, or a time such as 90s or 2m, got {text!r}")
        if found[1]:
            return cls()
        return cls(images=int(found[2])) if found[2] else cls(seconds=float(found[3]) * (60 if found[4] == "m" else 1))

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to do."""
        return self.seconds == 0 or self.images == 0

    @property
    def note(self) -> str:
        """For people."""
        if self.seconds is not None:
            return f"within {self.seconds:.0f} seconds"
        return "all" if self.images is None else f"at most {self.images:,}"


DEFAULT = Budget(images=10_000)  # the same on every machine


@dataclass(frozen=True)
class Matches:
    """Pairs that were looked at.

    Attributes:
        real, generated: (n,) int64 rows.
        values: (n,) float64, how many times as many points agree as is usual for the generated image; NaN where that is unknown.
        distances: (n,) float32, the combined distance, less what inliers and tiles add, see `query.comparison.ranking`.
        shown: number of a pair -> what was measured of it: the best of each generated image, and those above the threshold.
        looked: generated images that were looked at.
        of: how many there are.
        reference: see there.
        failed: why files could not be read again, each once.
    """

    real: NDArray[np.int64]
    generated: NDArray[np.int64]
    values: NDArray[np.float64]
    distances: NDArray[np.float32]
    shown: Mapping[int, Match]
    looked: int
    of: int
    reference: Reference
    failed: Sequence[str]


@dataclass(frozen=True)
class MatchSettings:
    """How much to match.

    Attributes:
        budget: of the generated images; controls come before and count.
        candidates: real images that the views together propose for each generated one, and generated ones for each real one.
        rotations: look for copies by quarter turns.
    """

    budget: Budget = DEFAULT
    candidates: int = CANDIDATES
    rotations: bool = False


def match(
    comparison: Comparison,
    groups: Groups,
    settings: MatchSettings | None = None,
    *,
    rows: NDArray[np.int64] | None = None,
    device: Device | None = None,
    progress: Progress = silent,
) -> Matches:
    """Step match: verify geometrically the pairs that the views propose.

    Args:
        comparison: with mirrored real images, flipped copies are looked for.
        groups: of the real images: those of one group are no controls for each other.
        settings: how much to match.
        rows: of generated images, to look at in this order; default all, the most suspicious first.
        device: where descriptors are compared, default the CPU; the answer is the same.
        progress: called with stage, done, total, and its method `limit`, if it has one, with the seconds left of the budget.
    """
    settings = settings or MatchSettings()
    sides, views, budget = comparison.sides, comparison.views, settings.budget
    started = time.monotonic()
    panel = panel_of(sides.real.digests, groups.of_row)
    tiles = RealTiles.of(sides.real, by_content(sides.real.digests), mirror=sides.flipped is not None)
    explainer = Explainer(sides.real, tiles, panel, sides.flipped, device.network if device else "cpu")
    scales = {view: result.scale for view, result in views.items() if result.scale}
    combined = partial(combined_of_pairs, view_vectors(sides), scales)
    work = _Work(sides, settings, explainer, combined, set(tiles.failed))
    order = suspicion(views) if rows is None else rows
    proposed = Proposals.of(views, settings.candidates)
    reference = work.reference(groups, [len(proposed[row]) for row in by_content(sides.generated.digests)], progress)
    taken = order if budget.images is None else order[: budget.images]
    deadline = None if budget.seconds is None else started + budget.seconds
    looked: list[_Look] = []
    floor = np.inf if reference.threshold is None else reference.threshold
    # Without a clock all of them will be looked at: then in the order of rows, so that each shard of a collection is opened once.
    rows_in_turn = np.sort(taken) if deadline is None else taken
    looks = in_order(partial(work.look, proposed, floor), rows_in_turn.tolist())
    while batch := list(islice(looks, _BATCH * workers())):
        looked += batch
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and hasattr(progress, "limit"):
            progress.limit(left)
        progress("matching generated images", len(looked), len(taken))
        if left is not None and left < 0:
            break
    looks.close()
    place = {row: number for number, row in enumerate(taken.tolist())}
    looked.sort(key=lambda look: place[look.row])
    return _gathered(sides, looked, reference, sorted(work.failed))


@dataclass(frozen=True)
class Proposals:
    """The real rows to compare each generated row with: its own first ones, by all views in turn, and those that name it.

    Attributes:
        nearest: of each view, (ng, k) rows.
        named_by: generated row -> real rows that have it among their own first ones.
        count: of its own first ones.
    """

    nearest: Sequence[NDArray[np.int64]]
    named_by: Mapping[int, Sequence[int]]
    count: int

    @classmethod
    def of(cls, found: Mapping[str, ViewResult], count: int = CANDIDATES) -> "Proposals":
        """From the neighbours of all views."""
        views = sorted(found, key=lambda view: (view != COMBINED, view))
        named_by: dict[int, list[int]] = defaultdict(list)
        for view in views:
            for real, near in enumerate(found[view].real.rows[:, : max(1, count // len(views))].tolist()):
                for generated in near:
                    named_by[generated].append(real)
        return cls([found[view].generated.rows for view in views], dict(named_by), count)

    def __getitem__(self, row: int) -> list[int]:
        """Of a generated row, each real row once."""
        own = _in_turn([rows[row].tolist() for rows in self.nearest], self.count)
        return list(dict.fromkeys([*own, *self.named_by.get(row, ())]))


@dataclass(frozen=True)
class _Look:
    """A generated row, the real rows it was compared with, their distances and values, and measures of some, by their place."""

    row: int
    real: NDArray[np.int64]
    distances: NDArray[np.float32]
    values: NDArray[np.float64]
    shown: Mapping[int, Match]


@dataclass(frozen=True)
class _Work:
    """Images of both sides, who explains them, and the combined distance of (n,) real rows and (n,) generated rows."""

    sides: Sides
    settings: MatchSettings
    explainer: Explainer
    combined: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
    failed: set[str] = field(default_factory=set)

    def look(self, proposed: Proposals, floor: float, row: int) -> _Look:
        """A generated row; measured are its best pair and those above the floor."""
        try:
            explained = self.explainer.explain(self.sides.generated.keypoints(row), self._candidates(proposed, row))
            inliers, values = explained.inliers, explained.values
            keep = np.flatnonzero((values > floor) | (inliers == inliers.max(initial=0)) & (inliers > 0))
            shown = {int(i): self.explainer.measured(explained, int(i)) for i in keep}
            combined = self.combined(explained.rows, np.full(len(explained.rows), row))
            distances = ranked_distances(combined, inliers, self.explainer.pursuit(explained))
            return _Look(row, explained.rows, distances, values, shown)
        except ImageError as error:
            self.failed.add(str(error))
            return _Look(row, np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0), {})

    def _candidates(self, proposed: Proposals, row: int) -> list[int]:
        turned = self.explainer.turned(self.sides.generated.read(row)) if self.settings.rotations else []
        return [*proposed[row], *turned]

    def reference(self, groups: Groups, counts: Sequence[int], progress: Progress) -> Reference:
        """Real images against those of other groups: an even choice by content, so that names and order change nothing.

        The first image of every group comes before the second of any.

        Args:
            counts: real images that generated ones are compared with, of each; controls take as many.
        """
        rows = controls(groups.of_row, self.sides.real.digests).tolist()
        asked = [(row, counts[place % len(counts)]) for place, row in enumerate(rows)]
        values: list[float | None] = []
        for value in in_order(partial(self._control, groups.of_row), asked):
            values.append(value)
            progress("matching real images as controls", len(values), len(rows))
        known = [place for place, value in enumerate(values) if value is not None]
        found = np.array([values[place] for place in known], np.float64)
        return Reference(found, groups.of_row[[rows[place] for place in known]], groups.known)

    def _control(self, groups: NDArray[Any], asked: tuple[int, int]) -> float | None:
        """The largest value of a real image against so many of other groups; None where it is unknown, or it cannot be read."""
        row, count = asked
        own = np.asarray(groups == groups[row])
        if own.all():
            return None
        real = self.sides.real
        near = [real.nearest(view, real.vectors[view][[row]], len(real)).rows[0] for view in real.views]
        others = [rows[(rows >= 0) & ~own[rows]].tolist() for rows in near]  # an approximate index may know fewer
        candidates = _in_turn(others, count)
        try:
            value = float(self.explainer.explain(self.sides.real.keypoints(row), candidates, own).values.max(initial=0))
            return value if np.isfinite(value) else None
        except ImageError as error:
            self.failed.add(str(error))
            return None


def _gathered(sides: Sides, looked: Sequence[_Look], reference: Reference, failed: Sequence[str]) -> Matches:
    """All pairs in one."""
    generated = np.repeat(np.array([look.row for look in looked], np.int64), [len(look.real) for look in looked])
    real = np.concatenate([np.zeros(0, np.int64), *(look.real for look in looked)])
    values = np.concatenate([np.zeros(0), *(look.values for look in looked)])
    distances = np.concatenate([np.zeros(0, np.float32), *(look.distances for look in looked)])
    first = np.cumsum([0, *(len(look.real) for look in looked)]).tolist()
    shown = {start + i: match for start, look in zip(first, looked, strict=False) for i, match in look.shown.items()}
    return Matches(real, generated, values, distances, shown, len(looked), len(sides.generated), reference, failed)


def suspicion(found: Mapping[str, ViewResult]) -> NDArray[np.int64]:
    """Rows of generated images, the most suspicious first.

    By the combined view, those that are some real image's nearest come before the others; both by their distance.
    """
    combined = found[COMBINED]
    own = combined.generated.distances[:, 0].astype(np.float64)
    nearest = np.unique(combined.real.rows[:, 0])
    first = np.isin(np.arange(len(own)), nearest[nearest >= 0])
    return np.lexsort((np.arange(len(own)), own, ~first)).astype(np.int64)


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


def _in_turn(lists: Sequence[Sequence[int]], count: int) -> list[int]:
    """The first of each list, then the second of each, until there are `count` different ones; -1 is none."""
    found: dict[int, None] = {}
    for rank in zip_longest(*lists, fillvalue=-1):
        for row in rank:
            if len(found) == count:
                return list(found)
            if row >= 0:
                found[row] = None
    return list(found)
