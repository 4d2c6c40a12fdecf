"""Method `reference`: density ratio, nearer to generated images than to reference images (known not to be used)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.search import brute_force
from query.comparison.reductions.logarithms import logs
from query.membership.case import Answer, Case, MembershipError, Model, Needs, Values
from query.membership.proximity import Measure, Nearness, log_nearest, measure_of, measure_of_draw, nearest_of_draw


@dataclass(frozen=True)
class Reference:
    """Log mean distance to the k nearest reference images, minus log mean distance to the k nearest generated ones.

    A nearest-neighbour estimate of the density ratio of DOMIAS (van Breugel et al., AISTATS 2023): where generated images are
    dense and images of the same kind are not, the generator has learned from this very image. A distance of 0 counts as
    `EPSILON`. Images of an image's own group are no reference for it. Views count alike.

    Every image meets as many candidates as every other, but there are fewer reference than generated ones, so that 0 has no
    meaning and the threshold comes from calibration. With `matched` the generated side is what drawing as many images as there
    are reference ones leads to expect. Then 0 has a meaning, but single copies drown: of 10,000 images a draw of 40 seldom
    holds them (docs/METHODS.md has the figures).

    Attributes:
        k: neighbours on either side.
        only: views that are looked at; empty for all there are.
        matched: equally many candidates on both sides.
    """

    k: int = 5
    only: tuple[str, ...] = ()
    matched: bool = False
    name = "reference"
    needs = Needs.REFERENCE
    looks = True
    views = ()

    def measures(self, case: Case) -> list[Measure]:
        """See `query.membership.proximity.Measuring`; with `matched`, for draws down to a third of the reference.

        Fewer are left of it where labels are set aside for cross-fitting; what still smaller draws need is measured then.
        """
        views, size = self.only or sorted(case.generated.specs), max(self.k, len(case.reference) // 3)
        if self.matched and size < len(case.generated):
            return [measure_of_draw(case, view, size, self.k) for view in views]
        return [measure_of(view, Nearness.D1) for view in views]

    def fit(self, case: Case) -> Model:
        """Nothing to learn: the reference belongs to the case."""
        return Model(self.name)

    def answer(self, case: Case, model: Model) -> Answer:
        """The mean over views; 0 is where both sides are equally near."""
        views = self.only or tuple(sorted(case.generated.specs))
        found = np.array([self._ratio(case, view) for view in views])
        counted = np.isfinite(found).sum(axis=0)
        if not counted.any():
            few = f"{self.name} needs more than {self.k} images known not to be used, besides an image's own group"
            raise MembershipError(f"{few}; name them with --unused DIR")
        value = np.where(counted > 0, np.nansum(found, axis=0) / np.maximum(counted, 1), np.nan)
        return Answer(value, 0.0, calibrated=False, note="Used where it is nearer to generated images than to reference ones.")

    def _ratio(self, case: Case, view: str) -> Values:
        """(nr,) float64, NaN where the image is blank or has fewer than k reference images besides its group."""
        metric = case.generated.specs[view].metric
        others, counts = self._to_reference(case, view)
        known = (counts >= self.k) & ~case.real.blank[view]
        value = np.full(len(case.real), np.nan)
        for size in np.unique(counts[known]) if self.matched else [len(case.generated)]:
            rows = np.flatnonzero(known & (counts == size) if self.matched else known)
            value[rows] = logs(others[rows], metric) - self._to_generated(case, view, int(size))[rows]
        return value

    def _to_reference(self, case: Case, view: str) -> tuple[Values, NDArray[np.int64]]:
        """(nr,) mean distance to the k nearest reference images of other groups, and how many those are."""
        reference = case.reference[~case.real.blank[view][case.reference]]
        far = real_distances(case, view)[:, reference]
        nearest = np.sort(far, axis=1)[:, : self.k]
        return nearest.mean(axis=1) if len(reference) else np.full(len(far), np.inf), np.isfinite(far).sum(axis=1)

    def _to_generated(self, case: Case, view: str, size: int) -> Values:
        """(nr,) log mean distance to the k nearest generated images, of a draw of this size where that is less than all."""
        metric = case.generated.specs[view].metric
        if size >= len(case.generated):
            return np.asarray(logs(np.exp(log_nearest(case, view, self.k)).mean(axis=1), metric))
        return np.asarray(logs(nearest_of_draw(case, view, size, self.k), metric))


def real_distances(case: Case, view: str) -> NDArray[np.float32]:
    """(nr, nr) float32 distances between real images; infinite between those of one group, which say nothing of each other."""

    def make() -> NDArray[np.float32]:
        metric, vectors = case.real.specs[view].metric, case.real.vectors[view]
        far = brute_force.distances(metric, vectors, vectors).astype(np.float32)
        if case.flipped is not None:
            far = np.minimum(far, brute_force.distances(metric, case.flipped.vectors[view], vectors))
        far[case.groups[:, None] == case.groups[None]] = np.inf
        return far

    return case.once(f"real {view}", make)
