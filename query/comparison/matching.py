"""Match the candidate pairs of a run geometrically: budget, calibrated threshold, re-ranking, into the database.

Generated images are matched with real ones (`query.comparison.explainer`), the most suspicious first. As a control, real images
are matched with those of other groups, which they cannot be copies of.
"""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.build.build import Progress, silent
from indexer.execution.executor import Resources
from indexer.execution.in_process import InProcess
from query.comparison.batches import Batches, growing
from query.comparison.comparison import Comparison
from query.comparison.controls import Controls, by_content
from query.comparison.explainer import Explainer, panel_of
from query.comparison.geometry import Match
from query.comparison.looking import Look, Looker, Looking
from query.comparison.match_reference import Reference
from query.comparison.proposals import CANDIDATES, Proposals, suspicion
from query.comparison.real_keypoints import RealKeypoints
from query.comparison.real_tiles import RealTiles
from query.comparison.reductions.sides import real_side
from query.comparison.search import By, view_vectors
from query.inputs.groups import Groups
from query.inputs.sides import Sides

MATCHED = "matched"
SCORE = "match"
_FIRST = 256  # images of the first piece, where a clock may stop the work
_MEMORY = 1 << 30  # bytes that a batch takes elsewhere: half of it libraries, the rest real images and what is kept of them


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
    by: By | None = None,
    progress: Progress = silent,
) -> Matches:
    """Step match: verify geometrically the pairs that the views propose.

    Args:
        comparison: with mirrored real images, flipped copies are looked for.
        groups: of the real images: those of one group are no controls for each other.
        settings: how much to match.
        rows: of generated images, to look at in this order; default all, the most suspicious first.
        by: where descriptors are compared, and who looks at generated images, default the threads of this process; the answer is
            the same.
        progress: called with stage, done, total, and its method `limit`, if it has one, with the seconds left of the budget.

    Raises:
        CollectionError: a shard of the generated images is missing, or another one by now.
    """
    settings, by = settings or MatchSettings(), by or By()
    sides, views, budget = comparison.sides, comparison.views, settings.budget
    deadline = None if budget.seconds is None else time.monotonic() + budget.seconds
    device, executor = by.device.network if by.device else "cpu", by.executor or InProcess()
    real = RealKeypoints.of(sides.real)
    explainer = _explainer(sides, real, groups, device if device == "cpu" or executor.here else "cuda:all")
    proposed = Proposals.of(views, settings.candidates)
    controls = Controls(sides.real, real, explainer)
    reference = controls.reference(groups, [len(proposed[row]) for row in by_content(sides.generated.digests)], progress)
    taken = suspicion(views) if rows is None else rows
    taken = taken if budget.images is None else taken[: budget.images]
    pieces = [np.sort(piece) for piece in ([taken] if deadline is None else growing(taken, _FIRST))]
    moments = {view: result.scale.real for view, result in views.items() if result.scale}
    floor = np.inf if reference.threshold is None else reference.threshold
    looker = Looker(explainer, real_side(view_vectors(sides)), moments, floor, settings.rotations)
    batches = Batches(sides.generated, proposed, views, executor.here).of(pieces)
    work, needs = Looking(executor.share(looker)), Resources(gpus=float(device != "cpu"), memory=_MEMORY)
    with closing(executor.map(work, batches, resources=needs)) as done:
        looks = _until(deadline, done, len(taken), progress)
    sides.check_unchanged()
    place = {row: number for number, row in enumerate(taken.tolist())}
    looks.sort(key=lambda look: place[look.row])
    failed = {*real.errors.values(), *controls.failed, *(look.failed for look in looks if look.failed)}
    return _gathered(sides, looks, reference, sorted(failed))


def _explainer(sides: Sides, real: RealKeypoints, groups: Groups, device: str) -> Explainer:
    """Who compares images with the real ones, on a device."""
    digests = sides.real.digests
    flipped = None if sides.flipped is None else RealKeypoints.of(sides.flipped)
    tiles = RealTiles.of(real, by_content(digests), mirror=flipped is not None)
    return Explainer(real, tiles, panel_of(digests, groups.of_row), flipped, device)


def _until(deadline: float | None, done: Iterable[list[Look]], total: int, progress: Progress) -> list[Look]:
    """What was found until the time is over, or all of it."""
    looks: list[Look] = []
    for some in done:
        looks += some
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and hasattr(progress, "limit"):
            progress.limit(left)
        progress("matching generated images", len(looks), total)
        if left is not None and left < 0:
            break
    return looks


def _gathered(sides: Sides, looked: Sequence[Look], reference: Reference, failed: Sequence[str]) -> Matches:
    """All pairs in one."""
    generated = np.repeat(np.array([look.row for look in looked], np.int64), [len(look.real) for look in looked])
    real = np.concatenate([np.zeros(0, np.int64), *(look.real for look in looked)])
    values = np.concatenate([np.zeros(0), *(look.values for look in looked)])
    distances = np.concatenate([np.zeros(0, np.float32), *(look.distances for look in looked)])
    first = np.cumsum([0, *(len(look.real) for look in looked)]).tolist()
    shown = {start + i: match for start, look in zip(first, looked, strict=False) for i, match in look.shown.items()}
    return Matches(real, generated, values, distances, shown, len(looked), len(sides.generated), reference, failed)
