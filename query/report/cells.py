"""Small-cell suppression for the public report: which counts and figures may be published.

A count of 1 to 10 can identify a person to a reader who knows the others, and so can a count from which such a count follows.
The number is that of the Cell Size Suppression Policy of the United States' Centers for Medicare & Medicaid Services (no cell of
1 to 10, and none from which one can be derived; resdac.org, version of 2024-01-26).
"""

from collections import Counter
from collections.abc import Mapping

FEWEST = 11  # persons, where they are known; else images


def enough_images(groups: Mapping[int, str]) -> int:
    """So many real images are of `FEWEST` groups (patients) at least, whichever they are: one more than the largest groups hold.

    Args:
        groups: number of a real image -> its group; an image without one is a group by itself.
    """
    largest = sorted(Counter(groups.values()).values(), reverse=True)[: FEWEST - 1]
    return max(FEWEST, 1 + sum(largest))


def enough(count: float | None, least: int) -> bool:
    """Whether a count may be shown: none at all, or so many."""
    return count is not None and (count == 0 or count >= least)


def shown_cells(cells: Mapping[str, int], least: int) -> dict[str, int | None]:
    """The parts of a total that may stand beside it, None for those that may not.

    What is too small is hidden and with it the largest, so that the total less the others does not tell it; or everything but
    zeros, where the largest is not so much larger than the next that any small number could stand in the place of the hidden one.
    A total that is too small itself hides all.
    """
    if not enough(sum(cells.values()), least):
        return dict.fromkeys(cells)
    *_, next_largest, largest = sorted([0, 0, *cells.values()])
    if all(enough(count, least) for count in cells.values()):
        return dict(cells)
    kept = [count for count in cells.values() if count == 0 or (least <= count < largest and largest - next_largest >= least)]
    return {name: count if count in kept else None for name, count in cells.items()}


def coarse_curve(false: list[int], true: list[int], least: int) -> list[int]:
    """Places of a ROC's points between which there are no images of a kind or enough of them; empty if only its ends are left.

    Args:
        false, true: counts of images not used and of used ones up to each point, from 0 to all.
        least: images.
    """
    kept, last = [0], len(false) - 1

    def step(one: int, other: int) -> tuple[int, int]:
        return false[other] - false[one], true[other] - true[one]

    def apart(one: int, other: int) -> bool:
        return all(enough(count, least) for count in step(one, other))

    for place in range(1, last + 1):
        if any(step(kept[-1], place)) and apart(kept[-1], place):
            kept.append(place)
    while not apart(kept[-1], last):  # the whole is apart from the first point, or nothing may be shown
        if len(kept) == 1:
            return []
        kept.pop()
    kept += [last] if any(step(kept[-1], last)) else []
    return kept if len(kept) > 2 else []
