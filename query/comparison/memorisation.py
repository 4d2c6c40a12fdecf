"""How many generated images copy a real one: q-values over generated images, and the share of copies with its bounds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, false_discovery_control

from query.comparison.match_reference import LEVEL, Reference
from query.comparison.matching import Matches

CONFIDENCE = 0.95
FDR = 0.1


@dataclass(frozen=True)
class MatchTests:
    """One test for each generated image that was matched: is it a copy of a real one?

    Attributes:
        generated, real: (n,) int64 rows; the real one of the largest value.
        values: (n,) float64, that value.
        p: (n,) conformal p-values, see `Reference.p_values`; NaN where groups are unknown.
        q: (n,) Benjamini and Hochberg's over all generated images: those that were not matched count as p = 1.
        of: all generated images.
    """

    generated: NDArray[np.int64]
    real: NDArray[np.int64]
    values: NDArray[np.float64]
    p: NDArray[np.float64]
    q: NDArray[np.float64]
    of: int

    @classmethod
    def of_matches(cls, matches: Matches) -> "MatchTests":
        """The best pair of each generated image; images without a known value have no test."""
        known = np.flatnonzero(np.isfinite(matches.values))
        order = known[np.lexsort((matches.real[known], -matches.values[known], matches.generated[known]))]
        _, first = np.unique(matches.generated[order], return_index=True)
        best = order[first]
        values = matches.values[best].astype(np.float64)
        p = matches.reference.p_values(values)
        return cls(matches.generated[best], matches.real[best], values, p, q_values(p, matches.of), matches.of)


def q_values(p: NDArray[np.float64], of: int) -> NDArray[np.float64]:
    """(n,) Benjamini and Hochberg's adjusted p-values among `of` tests, of which the others have p = 1; NaN where one is NaN.

    Conformal p-values against one reference depend on each other in the harmless direction (Bates et al., Annals of Statistics
    2023).
    """
    if not len(p) or np.isnan(p).any():
        return np.full(len(p), np.nan)
    return np.asarray(false_discovery_control(np.append(p, np.ones(of - len(p))), method="bh")[: len(p)], np.float64)


@dataclass(frozen=True)
class Share:
    """A share of generated images.

    Attributes:
        images, of: how many of how many; None is not shown.
        value: the share.
        low, high: its confidence bounds at `CONFIDENCE`; `high` is None where more may be there than can be seen.
    """

    images: int | None
    of: int
    value: float
    low: float
    high: float | None


def counted_share(images: int, of: int) -> Share:
    """What was counted, with the two-sided interval of Clopper and Pearson (Biometrika 1934) for a generator's further images."""
    tail = (1 - CONFIDENCE) / 2
    return Share(images, of, images / of, _lower(images, of, tail), 1 - _lower(of - images, of, tail))


def matched_share(tests: MatchTests, reference: Reference) -> Share | None:
    """The share of generated images that copy a real one, by matching; None where groups are unknown or nothing was compared.

    With s the share of images that are no copies above a value t, and g that of generated ones, copies are (g - s) / (1 - s) of
    them at least. Of one control for each of G groups, t is the k-th largest, k = max(1, floor(`LEVEL` (G + 1))), so s follows
    Beta(k, G - k + 1), whatever the distribution. The bound takes the 97.5% point of s and the lower 97.5% bound of g (Clopper
    and Pearson): together 95%. Images that were not matched count as not above t. Copies too faint to be above t are not seen,
    so there is no upper bound.
    """
    if not reference.known or not len(reference.values):
        return None
    _, first = np.unique(reference.groups, return_index=True)
    controls = np.sort(reference.values[first])[::-1]
    groups, rank = len(controls), max(1, int(LEVEL * (len(controls) + 1)))
    images = int(np.count_nonzero(tests.values > controls[rank - 1]))
    tail = (1 - CONFIDENCE) / 2
    expected, most = rank / (groups + 1), float(beta.ppf(1 - tail, rank, groups - rank + 1))
    value, low = images / tests.of, _lower(images, tests.of, tail)
    return Share(images, tests.of, _beyond(value, expected), _beyond(low, most), None)


def _beyond(share: float, chance: float) -> float:
    """What of a share is more than chance."""
    return max(0.0, (share - chance) / (1 - chance)) if chance < 1 else 0.0


def _lower(images: int, of: int, tail: float) -> float:
    """Clopper and Pearson's lower bound, missed with a probability of at most `tail`."""
    return float(beta.ppf(tail, images, of - images + 1)) if images else 0.0


def fewest_called(groups: int, of: int, fdr: float = FDR) -> int:
    """So many of the images must be above all controls before one can be called a copy: with k at the smallest p, q is
    of / k / (groups + 1). More than `of`: none ever can."""
    return int(np.ceil(of / (fdr * (groups + 1)) - 1e-9))
