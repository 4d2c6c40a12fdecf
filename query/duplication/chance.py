"""Chance: on how many points two pictures agree although neither is a copy of the other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from query.text import many

ALLOWED = 1.0  # pairs above the threshold expected by chance, in all pairs that were compared
LEAST, MOST = 20.0, 60.0  # thresholds lie between: fewer points are never a copy, more are one whatever the set is like
_ENOUGH = 100  # pairs that tell how far numbers scatter
_UPPER = 0.9  # of the pairs lie below the point that tells it: the quartile makes the tail of MRI too short


@dataclass(frozen=True)
class Chance:
    """The threshold, and what chance alone gives.

    Attributes:
        threshold: a pair is a near-duplicate from so many inliers on.
        expected: pairs that chance alone is expected to bring there, of all that were compared; at a threshold of `MOST` at most
            so many; NaN where too few were compared.
        pairs: that tell what is usual: fewer points than `MOST`, and of different patients where patients are known.
        usual: inliers of the median pair.
        by_patient: whether only pairs of different patients tell what is usual.
    """

    threshold: float
    expected: float
    pairs: int
    usual: float
    by_patient: bool

    @property
    def note(self) -> str:
        """Sentences for readers of pairs."""
        which = "different patients" if self.by_patient else "this set"
        if not np.isfinite(self.expected):
            return (
                f"Near-duplicates agree on {self.threshold:.0f} points or more. Only {many(self.pairs, 'pair')} of {which} "
                "could be compared, too few to tell what chance gives."
            )
        expected = f"{self.expected:.2g}" if self.expected >= 0.01 else "less than 0.01"
        most = "at most " if self.threshold >= MOST else ""  # duplicates among the pairs have widened the spread
        return (
            f"Near-duplicates agree on {self.threshold:.0f} points or more under one transformation. Of "
            f"{many(self.pairs, 'pair')} of neighbours ({which}) the median agrees on {self.usual:.0f}; "
            f"chance is expected to bring {most}{expected} of them to the threshold."
        )


def chance_of(inliers: NDArray[np.int64], by_patient: bool, allowed: float = ALLOWED) -> Chance:
    """The threshold above which chance brings `allowed` pairs in all.

    Square roots of the counts of unrelated pairs are near to normal (docs/METHODS.md has the tails). Their centre and spread are
    taken from the pairs at hand that agree on fewer points than `MOST`, by the median and the point that a tenth exceeds (an
    empirical null: Efron, JASA 99, 2004). Duplicates that are left there hardly move these as long as they are few; where they
    are many, the threshold ends at `MOST`.

    Args:
        inliers: (m,) of pairs of neighbours, those of different patients where patients are known.
        by_patient: see `Chance`.
        allowed: pairs expected by chance.
    """
    from scipy.special import ndtr, ndtri

    inliers = inliers[inliers < MOST]
    if len(inliers) < _ENOUGH:
        usual = float(np.median(inliers)) if len(inliers) else float("nan")
        return Chance(MOST, float("nan"), len(inliers), usual, by_patient)
    roots = np.sqrt(inliers.astype(np.float64))
    centre, upper = np.quantile(roots, [0.5, _UPPER])
    spread = max(float(upper - centre) / float(ndtri(_UPPER)), 0.25)
    found = centre - spread * float(ndtri(min(allowed / len(roots), 0.5)))
    threshold = float(np.ceil(np.clip(found**2, LEAST, MOST)))
    expected = len(roots) * float(ndtr((centre - np.sqrt(threshold)) / spread))
    return Chance(threshold, expected, len(roots), float(centre**2), by_patient)
