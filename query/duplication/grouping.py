"""Group duplicates so that chains do not run together: every member matches the centre of its group itself."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Inliers = Callable[[int, Sequence[int]], NDArray[np.int64]]  # a row and n others -> (n,) points on which they agree


@dataclass(frozen=True)
class Star:
    """A centre and its members: row -> points on which it agrees with the centre."""

    centre: int
    members: Mapping[int, int]


def stars(edges: Iterable[tuple[int, int, int]], inliers: Inliers, threshold: float) -> list[Star]:
    """Groups of near-duplicates, the one with most direct neighbours as the first centre.

    Linking whatever is near to a member (single linkage) would walk from slice to slice through a patient, and through a whole
    set. Here an image joins a group only if it matches the centre itself. Whoever is near to a member is tried; who does not
    match the centre is left for another group.

    Args:
        edges: near-duplicates: two rows and the points on which they agree.
        inliers: counts those of pairs that are no edge.
        threshold: from so many on an image matches the centre.
    """
    linked: dict[int, dict[int, int]] = defaultdict(dict)
    for first, second, count in edges:
        linked[first][second] = linked[second][first] = count
    free = set(linked)
    found = []
    for centre in sorted(linked, key=lambda row: (-len(linked[row]), row)):
        if centre not in free:
            continue
        free.discard(centre)
        members = _members(centre, linked, free, inliers, threshold)
        if members:
            found.append(Star(centre, members))
    return found


def _members(
    centre: int, linked: Mapping[int, Mapping[int, int]], free: set[int], inliers: Inliers, threshold: float
) -> dict[int, int]:
    """Who matches the centre, of those that are reached through others who do; they are free no more."""
    members: dict[int, int] = {}
    tried = {centre}
    waiting = deque([centre])
    while waiting:
        row = waiting.popleft()
        reached = [other for other in sorted(linked[row]) if other in free and other not in tried]
        tried.update(reached)
        counts = [linked[centre].get(other, -1) for other in reached]
        unknown = [other for other, count in zip(reached, counts, strict=True) if count < 0]
        known = dict(zip(reached, counts, strict=True)) | dict(zip(unknown, inliers(centre, unknown).tolist(), strict=True))
        for other in reached:
            if known[other] >= threshold:
                members[other] = known[other]
                free.discard(other)
                waiting.append(other)
    return members
