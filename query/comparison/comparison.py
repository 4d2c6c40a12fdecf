"""Step compare: all real images with all generated ones, by every view."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from indexer.build.build import Progress, silent
from indexer.device import Device
from indexer.execution.executor import Executor
from query.comparison.orientation import OrientationCheck, check_orientation
from query.comparison.reductions.driver import Reduction
from query.comparison.search import By, K, ViewResult, search
from query.inputs.sides import Sides

MAX_PAIRS = 10_000_000  # real x generated; above, distances are kept as histograms only


@dataclass(frozen=True)
class Comparison:
    """What comparing two collections gives.

    Attributes:
        sides: what was compared.
        k: neighbours kept of each real image, and of each generated one up to 100,000 of these, see
            `query.comparison.all_pairs.k_of_generated`.
        device: where FAISS searched, None for the CPU.
        views: view -> neighbours in both directions, scores, histogram; the combined view among them.
        orientation: whether one side is turned or flipped.
    """

    sides: Sides
    k: int
    device: Device | None
    views: Mapping[str, ViewResult]
    orientation: OrientationCheck = field(default_factory=OrientationCheck)

    @property
    def complete(self) -> bool:
        """Whether it holds the distances of all pairs."""
        return all(result.distances is not None for result in self.views.values())


def compare(
    sides: Sides,
    *,
    k: int = K,
    device: Device | None = None,
    also: Sequence[Reduction[Any]] = (),
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Search in both directions by every view of the generated images, and by all of them combined.

    Args:
        sides: what is compared.
        k: neighbours wanted.
        device: where FAISS searches, default the CPU.
        also: further reductions of single views, fed with the same pairs, as of `query.membership.proximity.Measures`.
        executor: who goes through the generated images, see `query.comparison.search.By`.
        progress: called with stage, steps done, steps in all.

    Raises:
        CollectionChanged: a file of them was changed meanwhile.
    """
    progress("checking orientation", 0, 1)
    orientation = check_orientation(sides)
    progress("checking orientation", 1, 1)
    views = search(
        sides,
        k=k,
        by=By(device, executor),
        distances=len(sides.real) * len(sides.generated) <= MAX_PAIRS,
        also=also,
        progress=progress,
    )
    sides.check_unchanged()
    return Comparison(sides, k, device, views, orientation)
