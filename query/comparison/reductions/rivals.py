"""Rivals: which patients compete with a real image for generated ones, so that the sizes of patients decide nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NONE = -1
_FEWEST = 8  # groups of like size: fewer join the next smaller ones, or one group alone would never compete


@dataclass(frozen=True)
class Rivals:
    """Whose images compete with an image.

    A patient's own images are no rivals, and each other patient sends one, its nearest. The nearest of ten slices is a stronger
    rival than a single slice. An image of a patient with ten would meet one strong rival less than an image of a patient with
    one, whose own patient is a weak rival. So of each other size one patient sends no rival either: every image meets as many
    rivals of each size. Sizes are 1, 2, 3 to 4, 5 to 8 and so on; one with fewer than eight patients joins the next smaller one.

    Attributes:
        group: (nr,) number of each image's group, from 0 on.
        excluded: (groups, e) groups that send no rival against the images of a group, its own first; -1 for none.
    """

    group: NDArray[np.int64]
    excluded: NDArray[np.int64]

    @classmethod
    def of(cls, groups: NDArray[np.generic], contents: NDArray[np.generic]) -> "Rivals":
        """Rivals by groups.

        Args:
            groups: (nr,) which images belong together; of any type that can be sorted.
            contents: (nr, width) anything that tells images apart: names and order of images change nothing.
        """
        names, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        group = group.ravel().astype(np.int64)
        place = np.empty(len(group), np.int64)
        place[np.lexsort(contents.T)] = np.arange(len(group))
        first = np.full(len(names), len(group))
        np.minimum.at(first, group, place)
        drawn = np.empty(len(names), np.int64)
        drawn[np.argsort(first)] = np.random.default_rng(0).permutation(len(names))
        kinds = _kinds(sizes)
        excluded = [np.arange(len(names))]
        for kind in np.unique(kinds) if len(set(kinds.tolist())) > 1 else ():
            members = np.flatnonzero(kinds == kind)
            partners = members[np.argsort(drawn[members])][drawn % len(members)]
            excluded.append(np.where(kinds == kind, _NONE, partners))
        return cls(group, np.stack(excluded, axis=1))

    def among(self, seen: NDArray[np.bool_]) -> "Rivals":
        """Those of some images, their groups numbered anew."""
        names, group = np.unique(self.group[seen], return_inverse=True)
        number = np.full(len(self.excluded) + 1, _NONE)
        number[names] = np.arange(len(names))
        return Rivals(group.ravel().astype(np.int64), number[self.excluded[names]])


def _kinds(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(groups,) number of each size: those of one number are of like size, and there are at least eight of each number.

    The smallest size has no smaller one to join, so with fewer than eight it joins the next larger one.
    """
    kinds = np.ceil(np.log2(sizes)).astype(np.int64)
    for kind in np.unique(kinds)[::-1]:
        smaller = kinds[kinds < kind]
        if len(smaller) and np.sum(kinds == kind) < _FEWEST:
            kinds[kinds == kind] = smaller.max()
    least = kinds == kinds.min(initial=0)
    if least.sum() < _FEWEST and not least.all():
        kinds[least] = kinds[~least].min()
    return kinds
