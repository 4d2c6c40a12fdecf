"""What match values mean: those that real images reach against images of other patients, each patient counting alike."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from query.text import many

LEVEL = 0.01  # share of images that are no copies and may be above the threshold


@dataclass(frozen=True)
class Reference:
    """What values (`query.comparison.explainer.Explained.values`) real images reach against those of other groups, with the same
    search.

    Where groups are known, a group is one observation however many of its images are controls: each weighs 1 / (controls of its
    group). The p-value of an image of a further group is then valid (hierarchical conformal prediction; Lee, Barber and Willett,
    arXiv:2306.06342). Where they are unknown, controls are compared with images of their own patients too, and no
    level can be promised.

    Attributes:
        values: (n,) largest value of each control.
        groups: (n,) of each control.
        known: somebody said which images belong together.
    """

    values: NDArray[np.float64]
    groups: NDArray[Any]
    known: bool

    @property
    def group_count(self) -> int:
        """Groups with a control."""
        return len(np.unique(self.groups))

    @property
    def threshold(self) -> float | None:
        """A pair is above threshold when its value is larger: the p-value of its image is then at most `LEVEL`.

        The largest control where there are too few groups for that level; None without controls.
        """
        if not len(self.values):
            return None
        allowed = max(LEVEL * (self.group_count + 1) - 1, 0)
        weights = np.append(0, np.cumsum(self._weights[self._order]))  # of the controls before each, the largest first
        ordered = self.values[self._order]
        before = weights[np.searchsorted(-ordered, -ordered, side="left")]
        return float(ordered[before <= allowed + 1e-9].min())

    @property
    def level(self) -> float | None:
        """The share of images that are no copies expected above the threshold at most; None where groups are unknown."""
        if self.threshold is None or not self.known:
            return None
        return float(self.p_values(np.array([np.nextafter(self.threshold, np.inf)]))[0])

    def p_values(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) conformal p-values of images with such values; NaN where groups are unknown, nothing was compared, or a value is
        NaN.

        Args:
            values: (m,) largest value of each image.
        """
        if not self.known or not len(self.values):
            return np.full(len(values), np.nan)
        weights = np.append(0, np.cumsum(self._weights[self._order]))
        as_large = weights[np.searchsorted(-self.values[self._order], -values, side="right")]
        return np.where(np.isfinite(values), np.minimum((1 + as_large) / (self.group_count + 1), 1), np.nan)

    @property
    def _order(self) -> NDArray[np.int64]:
        """Controls, the largest first."""
        return np.argsort(-self.values, kind="stable")

    @property
    def _weights(self) -> NDArray[np.float64]:
        """(n,) of each control, 1 in all for a group."""
        _, member, sizes = np.unique(self.groups, return_inverse=True, return_counts=True)
        return np.asarray(1 / sizes[member], np.float64)

    @property
    def note(self) -> str:
        """For readers of the threshold."""
        images = many(len(self.values), "real image")
        if self.threshold is None:
            return "Nothing calibrates these values: no real image could be compared with those of other groups."
        if self.level is None:
            return (
                f"The threshold of {self.threshold:.2f} is not calibrated: {images} showed which values real images reach beside "
                "each other, but patients are unknown, so some of those are images of one patient. --groups says which images "
                "belong together."
            )
        return (
            f"Of images that are no copies, at most 1 in {1 / self.level + 1e-9:.0f} is expected above a value of "
            f"{self.threshold:.2f}: {images} of {many(self.group_count, 'patient (group)', 'patients (groups)')} "
            f"{'was' if len(self.values) == 1 else 'were'} compared with those of other patients, and each patient counts alike."
        )
