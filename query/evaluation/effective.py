"""How many independent images a sample of groups counts for (design effect). NumPy only."""

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9


def by_group(deviation: NDArray[np.float64], member: NDArray[np.integer]) -> float:
    """Sum of the squares of what each group deviates by together."""
    return float((np.bincount(member, deviation) ** 2).sum())


def effective_number(deviation: NDArray[np.float64], member: NDArray[np.integer], shared: float = 1.0) -> tuple[float, float]:
    """How many independent images these count for, and the degrees of freedom of that estimate, infinite where it is none.

    The design effect is the variance of the mean by groups over that by images, at least 1, at most that of groups whose images
    are all alike inside (Kish, 1965). Both are without bias, the first for such groups (as Bell and McCaffrey, 2002). Degrees of
    freedom come from Kish's number as well: among groups of unequal size the largest decide. Where nothing deviates, or all is
    one group, there is no variance to see; then images of a group count as alike, since each group might have held the first
    deviation.

    Args:
        deviation: (k,) of each image from the mean; its scale does not matter, but sums of squares below 1e-9 count as none.
        member: (k,) numbers of their groups.
        shared: factor of the variance by groups, where others deviate with it.
    """
    sizes = np.bincount(member).astype(np.float64)
    images, groups = len(member), np.count_nonzero(sizes)
    alike, by_image = float(images**2 / (sizes**2).sum()), float((deviation**2).sum())
    if groups == 1 or by_image <= _ROUNDING:
        return alike, np.inf
    weight = sizes / images
    seen = (weight**2 * (1 - 2 * weight + 1 / alike)).sum() * alike  # share of the variance by groups that the mean leaves
    effect = shared * by_group(deviation, member) / seen / by_image * (images - 1) / images
    return max(alike, images / max(1.0, effect)), np.inf if groups == images else max(1.0, alike - 1)
